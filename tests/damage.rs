//! Damaged clips through the whole program: frames, times and sound stay, the user is told, and limits hold.

mod support;

use std::path::Path;
use std::process::Command;

use support::{Bench, Ran, frame_digests, run, times};

const PASS: [&str; 4] = ["--swapper", "none", "--output-video-crf", "0"];

fn text(path: &Path) -> &str {
    path.to_str().expect("temporary paths are UTF-8")
}

/// Erases packets of the video, by their numbers in decode order.
fn erase(clip: &Path, packets: &[usize]) {
    let mut command = Command::new("ffprobe");
    command.args(["-v", "error", "-select_streams", "v:0", "-show_entries", "packet=pos,size", "-of", "csv=p=0"]);
    let listed = String::from_utf8(run(command.arg(clip))).expect("csv is text");
    let places: Vec<(usize, usize)> = listed
        .lines()
        .map(|line| line.trim_end_matches(',').split_once(',').expect("two columns"))
        .map(|(size, place)| (place.parse().expect("a place"), size.parse().expect("a size")))
        .collect();
    let mut bytes = std::fs::read(clip).unwrap();
    for &packet in packets {
        let (place, size) = places[packet];
        bytes[place + 4..place + size].fill(0);
    }
    std::fs::write(clip, bytes).unwrap();
}

#[test]
fn broken_frames_repeat_their_neighbours_and_the_user_is_told() {
    let bench = Bench::new();
    let clip = bench.test_clip("clip.mp4", 90, 30);
    let whole = times(&clip);
    erase(&clip, &[40, 70]);
    let mut outputs = Vec::new();
    for chunks in ["64..128", "16..16"] {
        let output = format!("out-{chunks}.mp4");
        let ran = Ran::from(bench.swap(&["-t", text(&clip), "-o", &output, "--chunk-frames", chunks]).args(PASS));
        assert_eq!(ran.done()["frames"], 90);
        assert!(
            ran.told().contains("2 frames were damaged and repeat their neighbours, the first at 1.600 s"),
            "{}",
            ran.told()
        );
        let output = bench.path(&output);
        assert_eq!(times(&output), whole, "chunks of {chunks}");
        outputs.push(frame_digests(&output));
    }
    assert_eq!(outputs[0], outputs[1], "what stands in does not depend on the chunks");
    assert_eq!(outputs[0][40], outputs[0][39]);
    assert_eq!(outputs[0].len(), 90);
}

#[test]
fn too_much_damage_fails_with_its_time_unless_it_is_tolerated() {
    let bench = Bench::new();
    let clip = bench.test_clip("clip.mp4", 90, 30);
    let whole = times(&clip);
    erase(&clip, &[35, 37, 39, 41, 43, 45, 47]);
    let command = || bench.swap(&["-t", text(&clip), "-o", "out.mp4", "--chunk-frames", "30..30"]);
    let failed = Ran::from(command().args(PASS));
    assert_eq!(failed.exit, Some(1), "{}", failed.told());
    let reason = failed.events.last().expect("a last word")["reason"].to_string();
    assert!(reason.contains("of its 90 frames are damaged") && reason.contains("1.400 s"), "{reason}");
    assert!(!bench.path("out.mp4").exists());

    let tolerated = Ran::from(command().args(PASS).arg("--tolerate-damage"));
    assert_eq!(tolerated.done()["frames"], 90);
    assert!(tolerated.done()["chunks_reused"].as_u64() >= Some(1), "results do not depend on it: {}", tolerated.told());
    assert_eq!(times(&bench.path("out.mp4")), whole);
}

#[test]
fn a_file_that_was_cut_off_is_refused_or_keeps_its_time() {
    let bench = Bench::new();
    let source = bench.test_clip("source.mp4", 100, 25);
    for (name, how, expected) in [
        ("front.mp4", "-c copy -movflags +faststart", 100..=100),
        ("film.mkv", "-c copy", 97..=100), // of B frames that are lost before one that is there Matroska tells nothing
        ("film.avi", "-c:v mpeg4 -bf 2 -c:a mp3", 97..=100),
        ("fragmented.mp4", "-c copy -movflags +frag_keyframe+empty_moov", 25..=75), // tells nothing of what is missing
    ] {
        let clip = bench.clip(name, &format!("-i {} {how}", text(&source)));
        let bytes = std::fs::read(&clip).unwrap();
        std::fs::write(&clip, &bytes[..bytes.len() * 6 / 10]).unwrap();
        let command = || bench.swap(&["-t", text(&clip), "-o", "out.mkv", "--chunk-frames", "16..32"]);
        let refused = Ran::from(command().args(PASS));
        assert_eq!(refused.exit, Some(3), "{name}: {}", refused.told());
        assert!(refused.told().contains("the last whole packet is"), "{name}: {}", refused.told());

        let taken = Ran::from(command().args(PASS).arg("--tolerate-damage"));
        let frames = taken.done()["frames"].as_u64().expect("a number");
        assert!(expected.contains(&frames), "{name}: {frames}");
        assert!(taken.told().contains("cut off"), "{name}: {}", taken.told());
        let (video, audio) = times(&bench.path("out.mkv"));
        assert_eq!(video.len() as u64, frames, "{name}");
        let seconds = |time: &String| time.parse::<f64>().expect("a time");
        let (shown, heard) = (video.last().map(seconds).expect("a frame"), seconds(&audio.last().expect("sound").0));
        assert!(heard <= shown + 0.1, "{name}: sound until {heard}, pictures until {shown}");
    }
}
