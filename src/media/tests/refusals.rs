//! What cannot be swapped is refused before any work, with the reason.

use std::path::Path;

use super::clips::recipe;
use super::harness::{make, run};
use crate::contract::Keep;
use crate::error::{Classify as _, Kind};
use crate::media::{Limits, MediaError, probe};

fn refusal(path: &Path) -> MediaError {
    let error =
        probe(path, &Keep::default(), &Limits::default()).err().unwrap_or_else(|| panic!("{path:?} is accepted"));
    assert_eq!(error.kind(), Kind::Poison, "{error}");
    error
}

#[test]
fn a_clip_that_was_cut_off_is_refused_with_its_last_good_time() {
    let dir = tempfile::tempdir().unwrap();
    let front = make(dir.path(), "cfr.mp4", &recipe("cfr.mp4").arguments);
    let back = make(dir.path(), "back.mp4", "-i {dir}/cfr.mp4 -c copy");
    let fragmented = make(
        dir.path(),
        "fragmented.mp4",
        "-i {dir}/cfr.mp4 -c copy -movflags \
        +frag_keyframe+empty_moov",
    );
    let mkv = make(dir.path(), "film.mkv", "-i {dir}/cfr.mp4 -c copy");
    for (source, has_time) in [(front, true), (back, false), (fragmented, true), (mkv, true)] {
        let bytes = std::fs::read(&source).unwrap();
        std::fs::write(&source, &bytes[..bytes.len() * 6 / 10]).unwrap();
        match refusal(&source) {
            MediaError::Truncated { last_good, .. } if has_time => {
                let seconds = last_good.unwrap();
                assert!((0.5..2.9).contains(&seconds), "{source:?}: {seconds}");
            }
            MediaError::Truncated { last_good: None, .. } if !has_time => {}
            other => panic!("{source:?}: {other}"),
        }
    }
}

#[test]
fn what_is_no_video_is_told_apart() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    std::fs::write(path("empty.mp4"), "").unwrap();
    std::fs::write(path("text.mp4"), "This is no film, only a text about one.\n".repeat(50)).unwrap();
    std::fs::write(path("playlist.mp4"), "#EXTM3U\n#EXTINF:10,\nhttp://127.0.0.1:1/a.ts\n#EXT-X-ENDLIST\n").unwrap();
    make(dir.path(), "audio.mp4", "-f lavfi -i sine=d=1 -c:a aac");
    make(dir.path(), "audio.wav", "-f lavfi -i sine=d=1");
    make(dir.path(), "cover.png", "-f lavfi -i testsrc2=s=64x64:d=0.04 -frames:v 1");
    make(
        dir.path(),
        "cover.m4a",
        "-i {dir}/audio.mp4 -i {dir}/cover.png -map 0 -map 1 -c copy -disposition:v attached_pic",
    );

    for (name, expected) in [
        ("missing.mp4", "unreadable"),
        ("", "unreadable"), // the folder itself
        ("empty.mp4", "empty"),
        ("text.mp4", "not video"),
        ("playlist.mp4", "not video"),
        ("audio.mp4", "no video stream"),
        ("audio.wav", "no video stream"),
        ("cover.m4a", "no video stream"),
    ] {
        let error = refusal(&path(name));
        let found = match &error {
            MediaError::Unreadable { .. } => "unreadable",
            MediaError::Empty { .. } => "empty",
            MediaError::NotVideo { .. } => "not video",
            MediaError::NoVideoStream { .. } => "no video stream",
            _ => "other",
        };
        assert_eq!(found, expected, "{name}: {error}");
    }
    let error = refusal(&path("audio.mp4")).to_string();
    assert!(error.ends_with("audio.mp4 has no video stream (found audio (aac))"), "{error}");
}

#[test]
fn limits_are_kept() {
    let dir = tempfile::tempdir().unwrap();
    let source = make(dir.path(), "cfr.mp4", &recipe("cfr.mp4").arguments);
    let usual = Limits::default();
    for (limits, what) in [
        (Limits { max_width: 159, ..usual }, "width"),
        (Limits { max_height: 95, ..usual }, "height"),
        (Limits { max_frames: 74, ..usual }, "number of frames"),
        (Limits { max_seconds: 2, ..usual }, "length in seconds"),
        (Limits { max_pixels: 160 * 96 - 1, ..usual }, "number of pixels"),
        (Limits { max_bytes: Some(source.metadata().unwrap().len() - 1), ..usual }, "size in bytes"),
    ] {
        let error = probe(&source, &Keep::default(), &limits).unwrap_err();
        assert!(matches!(error, MediaError::OverLimit { what: found, .. } if found == what), "{what}: {error}");
    }
    let bytes = source.metadata().unwrap().len();
    let exact = Limits {
        max_width: 160,
        max_height: 96,
        max_pixels: 160 * 96,
        max_frames: 75,
        max_seconds: 3,
        max_bytes: Some(bytes),
    };
    assert!(probe(&source, &Keep::default(), &exact).is_ok());
}

#[test]
fn a_probe_says_what_the_clip_is() {
    let dir = tempfile::tempdir().unwrap();
    let source = make(dir.path(), "cfr.mp4", &recipe("cfr.mp4").arguments);
    let found = probe(&source, &Keep::default(), &Limits::default()).unwrap();
    let clip = &found.clip;
    assert_eq!((clip.codec.as_str(), clip.pixel_format.as_str()), ("h264", "yuv420p"));
    assert_eq!((clip.width, clip.height, clip.frames()), (160, 96, 75));
    assert_eq!((clip.frame_rate.num, clip.frame_rate.den), (25, 1));
    assert_eq!((clip.seconds(), found.warnings.len()), (3.0, 0));
    assert_eq!(found.packets.iter().filter(|packet| packet.key).count(), 3);
    let shown = run(
        "ffprobe",
        &[
            "-v",
            "error",
            "-count_frames",
            "-select_streams",
            "v",
            "-show_entries",
            "stream=nb_read_frames",
            "-of",
            "csv=p=0",
            source.to_str().unwrap(),
        ],
    );
    assert_eq!(shown.trim(), "75");
}
