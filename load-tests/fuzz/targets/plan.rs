//! The planner, over any list of packets.

#![no_main]

use facemill_fuzz::contract::PacketInfo;
use facemill_fuzz::{check_cuts, plan};
use libfuzzer_sys::arbitrary::{self, Arbitrary};
use libfuzzer_sys::fuzz_target;

#[derive(Arbitrary, Debug)]
struct Input {
    /// Ticks from one packet to the next, key, gradual and hidden.
    packets: Vec<(i16, bool, bool, bool)>,
    shortest: u8,
    more: u8,
    before: u8,
    after: u8,
}

fuzz_target!(|input: Input| {
    let mut pts = 0;
    let packets: Vec<PacketInfo> = input
        .packets
        .iter()
        .map(|&(step, key, gradual, hidden)| {
            pts += i64::from(step);
            PacketInfo { pts, key, gradual, hidden }
        })
        .collect();
    let mut shown: Vec<i64> = packets.iter().filter(|packet| !packet.hidden).map(|packet| packet.pts).collect();
    shown.sort_unstable();
    shown.dedup(); // as the probe sees to it
    let shortest = u64::from(input.shortest).max(1);
    let bounds = [shortest, shortest + u64::from(input.more)];
    let frames = shown.len() as u64;
    let (before, after) = (u64::from(input.before), u64::from(input.after));
    let window =
        |span: std::ops::Range<u64>| span.start.saturating_sub(before)..span.end.saturating_add(after).min(frames);
    if let Ok(cuts) = plan::cut(&shown, &packets, bounds, &window) {
        check_cuts(&cuts, &shown, &packets);
        assert!(cuts.iter().all(|cut| cut.end - cut.start <= bounds[1]));
    }
    if let Ok(looks) = plan::looks(&shown, &packets) {
        for look in &looks {
            assert!(plan::looked_at(look, looks.len()).all(|frame| (look.start..look.end).contains(&frame)));
        }
    }
});
