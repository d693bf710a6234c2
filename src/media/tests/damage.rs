//! Broken packets: frames keep their number and their times, and what stands in does not depend on the cut.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::{Path, PathBuf};

use super::harness::{Trip, ffprobe, make, plan, value};
use crate::contract::Keep;
use crate::frame::{Pixels as _, Planes};
use crate::media::{Limits, MediaError, Probe, Shows, WantedFrames, probe, probe_tolerant, slice};

/// A packet of the video stream, in the file.
struct Place {
    pts: i64,
    bytes: std::ops::Range<usize>,
    key: bool,
}

fn packets(clip: &Path) -> Vec<Place> {
    let lines = ffprobe(clip, "-select_streams v:0 -show_entries packet=pts,pos,size,flags");
    let place = |line: &String| {
        let number = |key: &str| value(line, key).parse::<usize>().unwrap();
        let bytes = number("pos")..number("pos") + number("size");
        Place { pts: value(line, "pts").parse().unwrap(), bytes, key: value(line, "flags").starts_with('K') }
    };
    lines.iter().filter(|line| line.starts_with("packet|")).map(place).collect()
}

/// What is done to a packet's bytes.
#[derive(Clone, Copy, Debug)]
enum Harm {
    /// Everything but the lengths that some codecs put first.
    Erased,
    /// A stretch in its middle.
    Scratched,
}

fn harm(clip: &Path, places: &[&Place], how: Harm) {
    let mut bytes = std::fs::read(clip).unwrap();
    for place in places {
        let packet = &mut bytes[place.bytes.clone()];
        let length = packet.len();
        match how {
            Harm::Erased => packet[4.min(length)..].fill(0),
            Harm::Scratched => packet[length / 2..(length / 2 + 24).min(length)].fill(0x5A),
        }
    }
    std::fs::write(clip, bytes).unwrap();
}

/// Of every frame: its time, what it shows, and whether that is another one's picture.
type Shown = Vec<(i64, u64, Shows)>;

fn frames(clip: &Path, probe: &Probe, chunk: usize, threads: usize) -> Result<Shown, MediaError> {
    let dir = tempfile::tempdir().unwrap();
    let cuts = plan(probe, &Trip { chunk, ..Trip::default() });
    let mut slices: Vec<PathBuf> = Vec::new();
    slice(clip, &probe.clip, &cuts, dir.path(), &mut |_, path| {
        slices.push(path.to_owned());
        Ok(())
    })?;
    let mut shown = Vec::new();
    for (cut, slice) in cuts.iter().zip(&slices) {
        let wanted = &probe.clip.pts[cut.start as usize..cut.end as usize];
        let times = wanted[0] - cut.base_pts..=wanted[wanted.len() - 1] - cut.base_pts;
        let mut frames = WantedFrames::open(slice, threads, times)?;
        while let Some(next) = frames.next()? {
            let mut hasher = DefaultHasher::new();
            let view = next.frame.view();
            let Planes::U8(planes) = view.planes else { panic!("clips here have 8 bits") };
            planes.iter().for_each(|plane| (0..plane.height).for_each(|row| plane.row(row).hash(&mut hasher)));
            shown.push((next.frame.pts() + cut.base_pts, hasher.finish(), next.shows));
        }
    }
    assert_eq!(shown.iter().map(|frame| frame.0).collect::<Vec<_>>(), probe.clip.pts, "every frame at its time");
    Ok(shown)
}

fn look(clip: &Path) -> Probe {
    probe(clip, &Keep::default(), &Limits::default()).unwrap()
}

const SOURCE: &str = "-f lavfi -i testsrc2=s=160x96:r=25:d=3 -pix_fmt yuv420p";

#[test]
fn broken_frames_are_replaced_by_a_neighbour_whatever_the_cut() {
    let dir = tempfile::tempdir().unwrap();
    let clips = [
        ("h264.mp4", "-c:v libx264 -preset veryfast -g 25 -bf 3 -x264-params keyint=25:min-keyint=25:scenecut=0"),
        (
            "open.mp4",
            "-c:v libx264 -preset veryfast -x264-params open-gop=1:keyint=25:min-keyint=25:scenecut=0:bframes=3",
        ),
        ("hevc.mp4", "-c:v libx265 -preset ultrafast -x265-params log-level=error:keyint=25:bframes=3"),
        ("vp9.mkv", "-c:v libvpx-vp9 -deadline realtime -cpu-used 8 -g 25"),
        ("mpeg2.mkv", "-c:v mpeg2video -b:v 1M -g 12 -bf 2"),
        ("mpeg4.mp4", "-c:v mpeg4 -q:v 4 -g 25 -bf 2"),
        ("mjpeg.mkv", "-c:v mjpeg -pix_fmt yuvj420p -q:v 4"),
    ];
    for (name, codec) in clips {
        let clip = make(dir.path(), name, &format!("{SOURCE} {codec}"));
        let original = std::fs::read(&clip).unwrap();
        let whole = frames(&clip, &look(&clip), 75, 1).unwrap();
        assert!(whole.iter().all(|frame| frame.2 == Shows::Own), "{name}");
        let places = packets(&clip);
        let keys: Vec<usize> = (0..places.len()).filter(|&packet| places[packet].key).collect();
        // Within a GOP; two in a row; a keyframe (of the second GOP, if there are some).
        for (broken, how) in [
            (vec![33], Harm::Erased),
            (vec![33], Harm::Scratched),
            (vec![40, 41], Harm::Erased),
            (vec![keys[1]], Harm::Scratched),
            (vec![keys[1]], Harm::Erased),
        ] {
            let case = format!("{name}: {how:?} {broken:?}");
            std::fs::write(&clip, &original).unwrap();
            harm(&clip, &broken.iter().map(|&packet| &places[packet]).collect::<Vec<_>>(), how);
            let probe = look(&clip);
            let times: Vec<i64> = broken.iter().map(|&packet| places[packet].pts).collect();
            let found = frames(&clip, &probe, 75, 1).unwrap_or_else(|error| panic!("{case}: {error}"));
            let stand_ins: Vec<i64> = found.iter().filter(|frame| frame.2 != Shows::Own).map(|frame| frame.0).collect();
            eprintln!("{case}: broken {times:?}, replaced {stand_ins:?}");
            if matches!(how, Harm::Erased) && !name.starts_with("hevc") {
                assert!(times.iter().all(|time| stand_ins.contains(time)), "{case}: {stand_ins:?}");
            }
            // What stands in shows what a neighbour shows.
            for (number, frame) in found.iter().enumerate().filter(|(_, frame)| frame.2 != Shows::Own) {
                let neighbours = [number.checked_sub(1), Some(number + 1)].into_iter().flatten();
                let mut pictures = neighbours.filter_map(|number| found.get(number)).map(|frame| frame.1);
                assert!(pictures.any(|picture| picture == frame.1), "{case}: frame {number}");
            }
            // Before the damage, but for the B frames that refer to it, nothing has changed.
            let first = whole.iter().position(|frame| times.contains(&frame.0)).unwrap();
            let before = whole.iter().zip(&found).take(first.saturating_sub(4));
            before.for_each(|(whole, found)| assert_eq!(whole, found, "{case}"));
            for (chunk, threads) in [(75, 4), (25, 1), (16, 1), (7, 2)] {
                let other = frames(&clip, &probe, chunk, threads)
                    .unwrap_or_else(|error| panic!("{case}, chunks of {chunk}: {error}"));
                let differ = found.iter().zip(&other).filter(|(a, b)| a != b);
                let differ: Vec<_> = differ.map(|(a, b)| (a.0, a.2, b.2)).collect();
                // A packet that only looks like a keyframe begins no GOP that every cut could see, nor does one of which nothing is
                // left: then a slice that ends before the next good one has to do with what it has.
                let is_sound = probe.packets.iter().zip(&places).all(|(now, then)| now.key == then.key);
                let is_lost = stand_ins.len() > broken.len();
                assert!(
                    differ.is_empty() || !is_sound || is_lost,
                    "{case}, chunks of {chunk}, {threads} threads: {differ:?}"
                );
            }
        }
    }
}

#[test]
fn what_a_file_lost_at_its_end_shows_its_last_whole_frame_whatever_the_cut() {
    let dir = tempfile::tempdir().unwrap();
    for (name, codec) in [
        ("h264.mp4", "-c:v libx264 -preset veryfast -g 25 -bf 3"),
        ("hevc.mp4", "-c:v libx265 -preset ultrafast -x265-params log-level=error:keyint=25:bframes=3"),
        ("vp9.mkv", "-c:v libvpx-vp9 -deadline realtime -cpu-used 8 -g 25"),
        ("mjpeg.avi", "-c:v mjpeg -pix_fmt yuvj420p -q:v 4"),
        ("raw.avi", "-c:v rawvideo"),
    ] {
        let clip = make(dir.path(), name, &format!("{SOURCE} {codec} -movflags +faststart"));
        let whole = frames(&clip, &look(&clip), 75, 1).unwrap();
        let bytes = std::fs::read(&clip).unwrap();
        std::fs::write(&clip, &bytes[..bytes.len() * 7 / 10]).unwrap();
        let probe = probe_tolerant(&clip, &Keep::default(), &Limits::default()).unwrap();
        let lost = probe.clip.lost_from.unwrap_or_else(|| panic!("{name}: {:?}", probe.warnings)) as usize;
        assert_eq!(probe.clip.pts.last(), whole.last().map(|frame| &frame.0), "{name}");
        let found = frames(&clip, &probe, 75, 1).unwrap_or_else(|error| panic!("{name}: {error}"));
        let there = found.iter().filter(|frame| frame.2 == Shows::Own).count();
        assert!((lost - 4..=lost).contains(&there), "{name}: {there} whole, {lost} packets are there");
        let standing = found.iter().rev().take_while(|frame| frame.2 == Shows::Neighbour);
        let last = found.iter().rfind(|frame| frame.2 == Shows::Own).expect("a whole frame");
        assert!(standing.map(|frame| frame.1).all(|picture| picture == last.1), "{name}: the last whole one stands");
        assert!(whole.contains(last), "{name}: and is the source's");
        for (chunk, threads) in [(75, 4), (25, 1), (16, 1), (7, 2)] {
            let other = frames(&clip, &probe, chunk, threads).unwrap();
            assert_eq!(found, other, "{name}: chunks of {chunk}, {threads} threads");
        }
    }
}
