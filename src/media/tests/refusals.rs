//! What cannot be swapped is refused before any work, with the reason.

use std::path::Path;

use super::clips::recipe;
use super::harness::{make, run};
use crate::contract::Keep;
use crate::error::{Classify as _, Kind};
use crate::frame::Turn;
use crate::media::{Limits, MediaError, probe, probe_tolerant};

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
fn a_probe_says_how_players_turn_the_clip() {
    let dir = tempfile::tempdir().unwrap();
    make(dir.path(), "cfr.mp4", &recipe("cfr.mp4").arguments);
    for tag in [90, 180, 270] {
        let arguments = format!("-i {{dir}}/cfr.mp4 -map 0 -c copy -metadata:s:v rotate={tag}");
        let source = make(dir.path(), &format!("{tag}.mp4"), &arguments);
        let entries = ["-v", "error", "-select_streams", "v", "-show_entries", "stream_side_data=rotation"];
        let told = run("ffprobe", &[&entries[..], &["-of", "default=nk=1:nw=1", source.to_str().unwrap()]].concat());
        let anticlockwise: i32 = told.trim().parse().unwrap();
        let found = probe(&source, &Keep::default(), &Limits::default()).unwrap();
        assert_eq!(i32::from(found.clip.turn.degrees()), (-anticlockwise).rem_euclid(360), "tag {tag}");
        assert_eq!(found.appearance.rotation, i32::from(found.clip.turn.degrees()), "tag {tag}");
    }
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
    assert_eq!((clip.turn, found.appearance.rotation, found.appearance.mirrored), (Turn::None, 0, false));
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

#[test]
fn a_change_of_size_is_refused_with_its_time() {
    let dir = tempfile::tempdir().unwrap();
    let clips = [
        ("h264", "ts", "-c:v libx264 -preset veryfast -g 25"),
        ("hevc", "ts", "-c:v libx265 -preset ultrafast -x265-params log-level=error:keyint=25"),
        ("mpeg2", "ts", "-c:v mpeg2video -g 25"),
        ("vp9", "mkv", "-c:v libvpx-vp9 -deadline realtime -cpu-used 8 -g 25"),
        ("vp8", "mkv", "-c:v libvpx -deadline realtime -cpu-used 8 -g 25"),
        ("mjpeg", "mkv", "-c:v mjpeg -strict unofficial"),
    ];
    for (name, extension, codec) in clips {
        let part = |size: &str| {
            let source = format!("-f lavfi -i testsrc2=s={size}:r=25:d=1 -pix_fmt yuv420p {codec}");
            make(dir.path(), &format!("{name}-{size}.{extension}"), &source)
        };
        let parts = [part("160x96"), part("128x96"), part("160x96")];
        let list = parts.map(|part| format!("file '{}'\n", part.display())).concat();
        std::fs::write(dir.path().join("list"), list).unwrap();
        let whole = make(dir.path(), &format!("{name}.{extension}"), "-f concat -safe 0 -i {dir}/list -c copy");
        match refusal(&whole) {
            MediaError::PictureChanged { before, after, seconds: Some(seconds) } => {
                assert!(before.starts_with("160x96") && after.starts_with("128x96"), "{name}: {before}, {after}");
                assert!((seconds - 1.0).abs() < 0.1, "{name}: {seconds}");
            }
            other => panic!("{name}: {other}"),
        }
    }
}

/// Notices when a file is opened.
struct Watched(libc::c_int);

impl Watched {
    fn new(file: &Path) -> Self {
        let path = std::ffi::CString::new(file.to_str().unwrap()).unwrap();
        // SAFETY: the path is a C string that lives on.
        let watch = unsafe {
            let watch = libc::inotify_init1(libc::IN_NONBLOCK);
            assert!(watch >= 0 && libc::inotify_add_watch(watch, path.as_ptr(), libc::IN_OPEN) >= 0);
            watch
        };
        Self(watch)
    }

    fn was_opened(&self) -> bool {
        let mut events = [0_u8; 4096];
        // SAFETY: the buffer has the length that is told.
        unsafe { libc::read(self.0, events.as_mut_ptr().cast(), events.len()) > 0 }
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        // SAFETY: it was opened in `new` and is closed once.
        unsafe { libc::close(self.0) };
    }
}

/// An MP4 whose samples lie in another file, as its data reference (an alias record) says.
fn with_alias(clip: &Path, other: &Path) -> Vec<u8> {
    let mut bytes = std::fs::read(clip).unwrap();
    let find = |bytes: &[u8], name: &[u8; 4]| bytes.windows(4).position(|window| window == name).unwrap() - 4;
    let path = other.to_str().unwrap().as_bytes();
    let mut alias = vec![0; 10 + 28 + 12 + 64 + 16 + 4 + 16];
    alias.extend([0, 2, 0, path.len() as u8]);
    alias.extend(path);
    alias.resize(alias.len() + path.len() % 2, 0);
    alias.extend([0xFF, 0xFF, 0, 0]);
    let entry = [&(alias.len() as u32 + 12).to_be_bytes()[..], b"alis", &[0; 4], &alias].concat();
    let start = find(&bytes, b"dref") + 16; // header, version, count
    let old = u32::from_be_bytes(bytes[start..start + 4].try_into().unwrap()) as usize;
    for name in [b"moov", b"trak", b"mdia", b"minf", b"dinf", b"dref"] {
        let at = find(&bytes, name);
        let size = u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap()) as usize + entry.len() - old;
        bytes[at..at + 4].copy_from_slice(&(size as u32).to_be_bytes());
    }
    bytes.splice(start..start + old, entry);
    bytes
}

#[test]
fn what_reaches_out_reaches_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let other = make(dir.path(), "other.mp4", &recipe("cfr.mp4").arguments);
    let plain = make(dir.path(), "plain.mov", "-i {dir}/other.mp4 -an -c copy");
    let still = make(dir.path(), "still.png", "-f lavfi -i testsrc2=s=64x64:d=0.04 -frames:v 1");
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let (url, file) = (format!("http://{}/a.ts", listener.local_addr().unwrap()), other.display().to_string());
    let text = |text: String| text.into_bytes();
    let cases = [
        ("url.m3u8", text(format!("#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n{url}\n#EXT-X-ENDLIST\n"))),
        ("file.mp4", text(format!("#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n{file}\n#EXT-X-ENDLIST\n"))),
        ("key.mp4", text(format!("#EXTM3U\n#EXT-X-KEY:METHOD=AES-128,URI=\"{url}\"\n#EXTINF:9,\n{file}\n"))),
        ("concat.mp4", text(format!("ffconcat version 1.0\nfile '{file}'\n"))),
        ("concat.ffconcat", text(format!("ffconcat version 1.0\nfile '{url}'\n"))),
        (
            "dash.mpd",
            text(format!(
                "<?xml version=\"1.0\"?><MPD xmlns=\"urn:mpeg:dash:schema:mpd:2011\" type=\"static\"><Period><BaseURL>{url}\
                 </BaseURL><AdaptationSet><Representation id=\"1\"/></AdaptationSet></Period></MPD>"
            )),
        ),
        (
            "stream.sdp",
            text("v=0\no=- 0 0 IN IP4 127.0.0.1\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 9 RTP/AVP 96\n".to_owned()),
        ),
        ("list.asx", text(format!("<asx version=\"3.0\"><entry><ref href=\"{url}\"/></entry></asx>"))),
        ("list.pls", text(format!("[playlist]\nFile1={url}\nNumberOfEntries=1\n"))),
        ("subtitles.idx", text(format!("# VobSub index file, v7\nsize: 720x576\nid: en, index: 0\n# {file}\n"))),
        ("cue.cue", text(format!("FILE \"{file}\" WAVE\n  TRACK 01 AUDIO\n    INDEX 01 00:00:00\n"))),
        ("alias.mov", with_alias(&plain, &other)),
    ];
    let watched = Watched::new(&other);
    for (name, bytes) in cases {
        let path = dir.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        let error = refusal(&path);
        assert!(!watched.was_opened(), "{name} has opened another file: {error}");
        let called = listener.accept().map(drop).map_err(|error| error.kind());
        assert_eq!(called, Err(std::io::ErrorKind::WouldBlock), "{name} has called out: {error}");
    }
    // A name that FFmpeg would take for many files is that of one.
    std::fs::copy(&still, dir.path().join("still001.png")).unwrap();
    std::fs::copy(&still, dir.path().join("still%03d.png")).unwrap();
    let one = probe(&dir.path().join("still%03d.png"), &Keep::default(), &Limits::default()).unwrap();
    assert_eq!(one.clip.frames(), 1);

    std::fs::File::open(&other).unwrap();
    assert!(watched.was_opened(), "the watch works");
}

#[test]
fn a_clip_that_was_cut_off_keeps_the_times_that_its_container_tells_if_that_is_asked_for() {
    /// What a container tells of what is missing.
    #[derive(PartialEq)]
    enum Tells {
        /// The time of each frame.
        Times,
        /// How long the video is.
        Length,
        /// The times of its last fragment's frames.
        Some,
        Nothing,
    }
    let dir = tempfile::tempdir().unwrap();
    make(dir.path(), "cfr.mp4", &recipe("cfr.mp4").arguments);
    make(dir.path(), "vfr.mp4", &recipe("vfr-jitter.mp4").arguments);
    for (name, arguments, tells) in [
        ("front.mp4", "-i {dir}/cfr.mp4 -c copy -movflags +faststart", Tells::Times),
        ("times.mp4", "-i {dir}/vfr.mp4 -c copy -movflags +faststart", Tells::Times),
        ("edited.mov", "-ss 0.5 -i {dir}/cfr.mp4 -c copy -movflags +faststart", Tells::Times),
        ("film.mkv", "-i {dir}/cfr.mp4 -c copy", Tells::Length),
        ("film.avi", "-i {dir}/cfr.mp4 -c:v mpeg4 -bf 0 -c:a mp3", Tells::Length),
        ("fragmented.mp4", "-i {dir}/cfr.mp4 -c copy -movflags +frag_keyframe+empty_moov", Tells::Some),
        ("film.ts", "-i {dir}/cfr.mp4 -c copy", Tells::Nothing),
    ] {
        let path = make(dir.path(), name, arguments);
        let whole = probe(&path, &Keep::default(), &Limits::default()).unwrap().clip;
        let all = whole.pts.len();
        let is_told = tells != Tells::Nothing;
        let bytes = std::fs::read(&path).unwrap();
        std::fs::write(&path, &bytes[..bytes.len() * 6 / 10]).unwrap();
        if is_told {
            assert!(matches!(refusal(&path), MediaError::Truncated { last_good: Some(_), .. }), "{name}");
        }
        let found =
            probe_tolerant(&path, &Keep::default(), &Limits::default()).unwrap_or_else(|e| panic!("{name}: {e}"));
        let clip = &found.clip;
        assert_eq!(clip.truncated, is_told, "{name}");
        assert_eq!(found.warnings.iter().any(|warning| warning.contains("cut off")), clip.truncated, "{name}");
        let there = clip.lost_from.map_or(clip.pts.len(), |lost| lost as usize);
        assert!((all / 4..all * 3 / 4).contains(&there), "{name}: {there} of {all} frames are there");
        assert_eq!(clip.lost_from.is_some(), is_told, "{name}");
        match tells {
            Tells::Times => assert_eq!((&clip.pts, clip.last_duration), (&whole.pts, whole.last_duration), "{name}"),
            // B frames that were lost between those that are there are not known of.
            Tells::Length => {
                assert!((all - 3..=all).contains(&clip.pts.len()), "{name}: {} of {all} frames", clip.pts.len());
                assert!(clip.pts.iter().all(|pts| whole.pts.contains(pts)), "{name}");
                assert_eq!(clip.pts.last(), whole.pts.last(), "{name}");
            }
            Tells::Some | Tells::Nothing => {
                assert!(clip.pts.iter().all(|pts| whole.pts.contains(pts)), "{name}");
                let usual = clip.pts[1] - clip.pts[0];
                assert!(clip.last_duration <= 2 * usual, "{name}: the last lasts {} ticks", clip.last_duration);
            }
        }
        let is_said = found.warnings.iter().any(|warning| warning.contains("frames are missing at the file's end"));
        assert_eq!(is_said, is_told, "{name}: {:?}", found.warnings);

        let few = Limits { max_frames: there as u64 + 2, ..Limits::default() };
        let limited = probe_tolerant(&path, &Keep::default(), &few);
        assert_eq!(matches!(limited, Err(MediaError::OverLimit { .. })), is_told, "{name}: {limited:?}");
    }
    let back = make(dir.path(), "back.mp4", "-i {dir}/cfr.mp4 -c copy");
    let bytes = std::fs::read(&back).unwrap();
    std::fs::write(&back, &bytes[..bytes.len() * 6 / 10]).unwrap();
    let error = probe_tolerant(&back, &Keep::default(), &Limits::default()).unwrap_err();
    assert!(matches!(error, MediaError::Truncated { .. }), "without its index nothing can be read: {error}");
}
