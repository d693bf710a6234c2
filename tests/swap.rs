//! `facemill swap`, run as a user runs it.

mod support;

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;
use support::{Bench, Ran, Running, demo_clip, facemill, frame_digests, portrait, run, times};

const PASS: [&str; 4] = ["--swapper", "none", "--output-video-crf", "0"];

/// All files in a folder and below.
fn files_in(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { files.extend(files_in(&path)) } else { files.push(path) }
    }
    files.sort();
    files
}

fn text(path: &Path) -> &str {
    path.to_str().expect("temporary paths are UTF-8")
}

#[test]
fn a_lossless_pass_changes_nothing() {
    let bench = Bench::new();
    let clip = bench.test_clip("clip.mp4", 90, 25);
    for chunks in ["16..16", "64..128", "1..1"] {
        let output = format!("out-{chunks}.mp4");
        let ran = Ran::from(bench.swap(&["-t", text(&clip), "-o", &output, "--chunk-frames", chunks]).args(PASS));
        assert_eq!(ran.done()["frames"], 90);
        let output = bench.path(&output);
        assert_eq!(frame_digests(&output), frame_digests(&clip), "chunks of {chunks}");
        assert_eq!(times(&output), times(&clip), "chunks of {chunks}");
    }
}

#[test]
fn variable_frame_rate_keeps_every_time() {
    let bench = Bench::new();
    let clip = bench.clip(
        "vfr.mp4",
        "-f lavfi -i testsrc2=s=320x180:r=25:d=4 -f lavfi -i sine=d=4 -vf select='not(eq(mod(n\\,7)\\,3))' -vsync vfr \
         -c:v libx264 -preset ultrafast -pix_fmt yuv420p -bf 3 -g 30 -c:a aac",
    );
    Ran::from(bench.swap(&["-t", text(&clip), "-o", "out.mp4", "--chunk-frames", "8..16"]).args(PASS)).done();
    let output = bench.path("out.mp4");
    assert_eq!(frame_digests(&output), frame_digests(&clip));
    assert_eq!(times(&output), times(&clip));
}

#[test]
fn a_second_run_reuses_everything_and_a_lost_output_is_joined_again() {
    let bench = Bench::new();
    let clip = bench.test_clip("clip.mp4", 60, 10);
    let command = || {
        let mut command = bench.swap(&["-t", text(&clip), "-o", "out.mp4", "--chunk-frames", "10..20"]);
        command.args(PASS);
        command
    };
    let first = Ran::from(&mut command());
    assert_eq!((&first.done()["chunks_done"], &first.done()["chunks_reused"]), (&Value::from(3), &Value::from(0)));
    let made = std::fs::read(bench.path("out.mp4")).unwrap();

    let second = Ran::from(&mut command());
    assert_eq!((&second.done()["chunks_done"], &second.done()["chunks_reused"]), (&Value::from(0), &Value::from(3)));
    assert_eq!(std::fs::read(bench.path("out.mp4")).unwrap(), made, "a finished output is left alone");

    let (frames, packets) = (frame_digests(&bench.path("out.mp4")), times(&bench.path("out.mp4")));
    std::fs::remove_file(bench.path("out.mp4")).unwrap();
    let third = Ran::from(&mut command());
    assert_eq!((&third.done()["chunks_done"], &third.done()["chunks_reused"]), (&Value::from(0), &Value::from(3)));
    // No two signatures are the same.
    assert_eq!((frame_digests(&bench.path("out.mp4")), times(&bench.path("out.mp4"))), (frames, packets));
}

/// Every object of a job, one after the other: what cannot be read is made again, or the job fails and names it.
#[test]
fn no_damaged_object_keeps_a_job_waiting() {
    let bench = Bench::new();
    let (clip, photo) = (demo_clip(), portrait());
    let arguments = ["-s", text(&photo), "-t", text(&clip), "-o", "out.mp4", "--frame-limit", "32"];
    let again = || {
        let _ = std::fs::remove_file(bench.path("out.mp4")); // a job that has failed leaves none
        Ran::from(bench.swap(&arguments).args(["--chunk-frames", "16..16"]))
    };
    again().done();
    let made = frame_digests(&bench.path("out.mp4"));
    let store = bench.path("data/store");
    let mut objects = files_in(&store);
    objects.retain(|path| path.file_name().is_some_and(|name| name != ".tmp-lock"));
    assert!(
        objects.len() >= 11,
        "job, run, manifest, plan, two slices and their index, look, photo, two results: {objects:?}"
    );
    let mut failed = Vec::new();
    for object in objects {
        let key = text(object.strip_prefix(&store).unwrap()).to_owned();
        let whole = std::fs::read(&object).unwrap();
        std::fs::write(&object, "{}").unwrap();
        let ran = again();
        if ran.exit == Some(0) {
            assert_eq!(frame_digests(&bench.path("out.mp4")), made, "after {key} was damaged");
            continue;
        }
        assert!(ran.told().contains(&key), "{key}: {}", ran.told());
        failed.push(key.rsplit('/').next().unwrap().to_owned());
        std::fs::write(&object, whole).unwrap();
        again().done();
    }
    assert_eq!(failed, ["job.json"], "only what the id means cannot be found out again");
}

#[test]
fn a_job_of_an_earlier_version_is_done_again() {
    let bench = Bench::new();
    let clip = bench.test_clip("clip.mp4", 20, 10);
    let again = || Ran::from(bench.swap(&["-t", text(&clip), "-o", "out.mp4"]).args(PASS));
    again().done();
    let manifest = files_in(&bench.path("data/store/jobs")).into_iter().find(|path| path.ends_with("manifest.json"));
    let manifest = manifest.expect("the run has ended");
    let mut before: Value = serde_json::from_slice(&std::fs::read(&manifest).unwrap()).unwrap();
    let fields = before.as_object_mut().unwrap();
    fields.remove("ended_at").expect("versions before the first cancellation did not say");
    fields.remove("object_sha256").expect("nor were their objects sealed");
    std::fs::write(&manifest, before.to_string()).unwrap();
    std::fs::remove_file(bench.path("out.mp4")).unwrap();
    assert_eq!(again().done()["chunks_reused"], 1);
}

#[test]
fn an_existing_output_is_replaced_only_by_a_finished_one() {
    let bench = Bench::new();
    std::fs::write(bench.path("out.mp4"), "what was there").unwrap();
    let broken = bench.path("broken.mp4");
    std::fs::write(&broken, "not a video").unwrap();
    let failed = Ran::from(bench.swap(&["-t", text(&broken), "-o", "out.mp4"]).args(PASS));
    assert_eq!(failed.exit, Some(3));
    assert_eq!(std::fs::read(bench.path("out.mp4")).unwrap(), b"what was there");

    let clip = bench.test_clip("clip.mp4", 10, 10);
    Ran::from(bench.swap(&["-t", text(&clip), "-o", "out.mp4"]).args(PASS)).done();
    assert_eq!(frame_digests(&bench.path("out.mp4")), frame_digests(&clip));
}

/// Starts a run, waits for its first chunk, ends it by `signal`, and returns what it left and what the same command then does.
fn ended_and_resumed(signal: &str) -> (Option<i32>, Ran, Bench) {
    let bench = Bench::new();
    let clip = bench.clip(
        "clip.mp4",
        "-f lavfi -i testsrc2=s=640x360:r=25:d=24 -c:v libx264 -preset ultrafast -pix_fmt yuv420p -g 20",
    );
    let command = || {
        let mut command =
            bench.swap(&["-t", text(&clip), "-o", "out.mp4", "--chunk-frames", "20..20", "--workers", "1"]);
        command.args(["--swapper", "none", "--output-video-crf", "0", "--output-video-preset", "slow"]);
        command
    };
    let mut running = Running(command().stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap());
    let mut lines = BufReader::new(running.0.stdout.take().unwrap()).lines();
    let is_chunk = |line: &str| serde_json::from_str::<Value>(line).unwrap()["event"] == "chunk";
    assert!(lines.by_ref().any(|line| is_chunk(&line.unwrap())), "a chunk is done");
    run(Command::new("kill").args([signal, &running.0.id().to_string()]));
    let rest: Vec<String> = lines.map(Result::unwrap).collect();
    let status = running.0.wait().unwrap();
    assert!(!rest.iter().any(|line| line.contains("\"done\"")), "the run was ended before its end");
    assert!(!bench.path("out.mp4").exists());
    let resumed = Ran::from(&mut command());
    assert_eq!(frame_digests(&bench.path("out.mp4")), frame_digests(&clip));
    (status.code(), resumed, bench)
}

#[test]
fn a_killed_run_goes_on_where_it_was() {
    let (code, resumed, _bench) = ended_and_resumed("-KILL");
    assert_eq!(code, None);
    let done = resumed.done();
    assert!(done["chunks_reused"].as_u64() >= Some(1) && done["chunks_done"].as_u64() >= Some(1), "{done}");
    assert_eq!(done["chunks_reused"].as_u64().unwrap() + done["chunks_done"].as_u64().unwrap(), 30);
}

#[test]
fn ctrl_c_stops_cleanly_and_resumes() {
    let (code, resumed, _bench) = ended_and_resumed("-INT");
    assert_eq!(code, Some(130));
    assert!(resumed.done()["chunks_reused"].as_u64() >= Some(1));
}

#[test]
fn the_same_command_twice_at_once_ends_twice() {
    let bench = Bench::new();
    let clip = bench.test_clip("clip.mp4", 200, 10);
    let command = || {
        let mut command = bench.swap(&["-t", text(&clip), "-o", "out.mp4", "--chunk-frames", "10..20"]);
        command.args(PASS).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    };
    let both = [command().spawn().unwrap(), command().spawn().unwrap()];
    for child in both {
        Ran::of(&child.wait_with_output().unwrap()).done();
    }
    assert_eq!(frame_digests(&bench.path("out.mp4")), frame_digests(&clip));
}

#[test]
fn a_frame_limit_ends_the_sound_with_its_last_frame() {
    let bench = Bench::new();
    let clip = bench.test_clip("clip.mp4", 100, 50);
    Ran::from(bench.swap(&["-t", text(&clip), "-o", "out.mp4", "--frame-limit", "40"]).args(PASS)).done();
    let output = bench.path("out.mp4");
    assert_eq!(frame_digests(&output), frame_digests(&clip)[..40]);
    let (_, audio) = times(&output);
    let (_, whole) = times(&clip);
    assert_eq!(audio, whole[..audio.len()]);
    let last: f64 = audio.last().unwrap().0.parse().unwrap();
    assert!((1.5..1.6).contains(&last), "the last audio packet starts at {last} s of 1.6 s");
}

#[test]
fn a_part_of_the_clip_as_hevc_in_a_mov() {
    let bench = Bench::new();
    let clip = bench.test_clip("clip.mp4", 90, 25);
    let arguments =
        ["-t", text(&clip), "-o", "out.mov", "--chunk-frames", "16..16", "--trim-start", "10", "--trim-end", "2.4s"];
    let mut command = bench.swap(&arguments);
    command.args(PASS).args(["--output-video-encoder", "libx265", "--output-video-preset", "ultrafast"]);
    assert_eq!(Ran::from(&mut command).done()["frames"], 50);
    assert_eq!(frame_digests(&bench.path("out.mov")), frame_digests(&clip)[10..60]);
    let codec = run(Command::new("ffprobe").args(["-v", "error", "-select_streams", "v", "-of", "csv=p=0"]).args([
        "-show_entries",
        "stream=codec_name,codec_tag_string",
        text(&bench.path("out.mov")),
    ]));
    assert_eq!(String::from_utf8(codec).unwrap().trim(), "hevc,hvc1");
}

#[test]
fn a_probe_tells_what_is_kept_and_what_would_be_refused() {
    let bench = Bench::new();
    let clip = bench.test_clip("clip.mp4", 90, 25);
    let probe = |clip: &Path, more: &[&str]| Ran::from(facemill().args(["probe", "--json", text(clip)]).args(more));
    let told = probe(&clip, &["--chunk-frames", "16..32"]);
    assert_eq!((told.exit, told.events.len()), (Some(0), 1), "{}", told.told());
    let report = &told.events[0];
    assert_eq!((&report["video"]["frames"], &report["video"]["constant_rate"]), (&90.into(), &true.into()), "{report}");
    assert_eq!((&report["chunks"]["count"], &report["streams"][0]["codec"]), (&4.into(), &"aac".into()), "{report}");
    assert!(report["refused"].is_null() && report["streams"][0]["left_out"].is_null(), "{report}");
    let deep = bench.clip("deep.mkv", "-f lavfi -i testsrc2=s=64x64:r=25:d=1 -c:v ffv1 -pix_fmt yuv420p12le");
    let refused = probe(&deep, &[]);
    assert_eq!(refused.exit, Some(3));
    assert!(refused.events[0]["refused"].as_str().is_some_and(|why| why.contains("yuv420p12le")), "{}", refused.told());
    let chosen = probe(&deep, &["--output-video-encoder", "auto"]);
    assert_eq!((chosen.exit, &chosen.events[0]["encoder"]), (Some(0), &"libx265".into()), "{}", chosen.told());
    let broken = bench.path("broken.mp4");
    std::fs::write(&broken, "not a video").unwrap();
    let refused = probe(&broken, &[]);
    assert_eq!(refused.exit, Some(3));
    assert!(refused.told().contains("is not a video file"), "{}", refused.told());
}

#[test]
fn what_cannot_be_done_is_refused_with_its_reason() {
    let bench = Bench::new();
    let clip = bench.test_clip("clip.mp4", 50, 25);
    std::fs::write(bench.path("empty.mp4"), "").unwrap();
    std::fs::write(bench.path("text.mp4"), "this is text and not a video\n".repeat(100)).unwrap();
    bench.clip("audio.mp4", "-f lavfi -i sine=d=1 -c:a aac");
    let whole =
        std::fs::read(bench.clip("moov-first.mp4", &format!("-i {} -c copy -movflags +faststart", text(&clip))))
            .unwrap();
    std::fs::write(bench.path("cut.mp4"), &whole[..whole.len() * 6 / 10]).unwrap();
    std::fs::create_dir(bench.path("folder.mp4")).unwrap();
    std::fs::write(bench.path("no-photo.jpg"), "not a photo").unwrap();

    let none: &[&str] = &["--swapper", "none"];
    let table: &[(&[&str], &[&str], i32, &str)] = &[
        (&["-t", "missing.mp4", "-o", "o.mp4"], none, 3, "missing.mp4"),
        (&["-t", "empty.mp4", "-o", "o.mp4"], none, 3, "empty"),
        (&["-t", "text.mp4", "-o", "o.mp4"], none, 3, "target"),
        (&["-t", "audio.mp4", "-o", "o.mp4"], none, 3, "video"),
        (&["-t", "cut.mp4", "-o", "o.mp4"], none, 3, "cut off"),
        (&["-t", "clip.mp4", "-o", "nowhere/o.mp4"], none, 3, "nowhere"),
        (&["-t", "clip.mp4", "-o", "folder.mp4"], none, 3, "folder.mp4"),
        (&["-t", "clip.mp4", "-o", "/proc/o.mp4"], none, 3, "/proc"),
        (&["-t", "clip.mp4", "-o", "clip.mp4"], none, 3, "the target itself"),
        (&["-t", "clip.mp4", "-o", "o.xyz"], none, 3, "xyz"),
        (&["-t", "clip.mp4", "-o", "o.mp4"], &["--blend-ratio", "7"], 2, "0.0..=1.0"),
        (&["-t", "clip.mp4", "-o", "o.mp4"], &["--chunk-frames", "9..8"], 2, "MIN..MAX"),
        (&["-t", "clip.mp4", "-o", "o.mp4"], &["--execution-provider", "abacus", "--swapper", "none"], 2, "abacus"),
        (&["-t", "clip.mp4", "-o", "o.mp4"], &[], 2, "source-path"),
        (&["-t", "clip.mp4", "-o", "o.mp4", "-s", "missing.jpg"], &[], 3, "missing.jpg"),
        (&["-t", "clip.mp4", "-o", "o.mp4", "-s", "no-photo.jpg"], &[], 3, "photo"),
    ];
    for (arguments, more, exit, named) in table {
        let ran = Ran::from(bench.swap(arguments).args(*more));
        assert_eq!(ran.exit, Some(*exit), "{arguments:?} {more:?}: {}", ran.told());
        assert!(ran.told().contains(named), "{arguments:?} {more:?} does not name {named}: {}", ran.told());
        assert!(!bench.path("o.mp4").exists());
    }
    assert!(!bench.path("nowhere").exists(), "a missing output folder is not created");
    assert_eq!(frame_digests(&clip).len(), 50, "the target is untouched");
}

#[test]
fn photos_without_a_face_or_with_several_are_refused() {
    let bench = Bench::new();
    bench.test_clip("clip.mp4", 10, 10);
    bench.clip("no-face.png", "-f lavfi -i testsrc2=s=640x480 -frames:v 1");
    let photo = portrait();
    bench.clip("two.png", &format!("-i {0} -i {0} -filter_complex hstack -frames:v 1", text(&photo)));

    let none = Ran::from(&mut bench.swap(&["-s", "no-face.png", "-t", "clip.mp4", "-o", "o.mp4"]));
    assert_eq!(none.exit, Some(3), "{}", none.told());
    assert!(none.told().contains("no face"), "{}", none.told());

    let several = Ran::from(&mut bench.swap(&["-s", "two.png", "-t", "clip.mp4", "-o", "o.mp4"]));
    assert_eq!(several.exit, Some(3), "{}", several.told());
    assert!(several.told().contains("--source-face"), "{}", several.told());

    Ran::from(&mut bench.swap(&["-s", "two.png", "--source-face", "1", "-t", "clip.mp4", "-o", "o.mp4"])).done();
    let beyond = Ran::from(&mut bench.swap(&["-s", "two.png", "--source-face", "2", "-t", "clip.mp4", "-o", "p.mp4"]));
    assert_eq!(beyond.exit, Some(3), "{}", beyond.told());
}

#[test]
fn a_clip_without_a_face_passes_through_with_a_warning() {
    let bench = Bench::new();
    let clip = bench.test_clip("clip.mp4", 30, 10);
    let photo = portrait();
    let ran =
        Ran::from(&mut bench.swap(&["-s", text(&photo), "-t", text(&clip), "-o", "o.mp4", "--output-video-crf", "0"]));
    assert_eq!(ran.done()["frames_without_face"], 30);
    assert!(ran.told().contains("no face was found in 30 of 30 frames"), "{}", ran.told());
    assert_eq!(frame_digests(&bench.path("o.mp4")), frame_digests(&clip));
}

/// Chunks do not show: what is computed for a frame does not depend on how the clip was cut.
#[test]
fn swapped_frames_are_the_same_for_all_chunks() {
    let bench = Bench::new();
    let (photo, clip) = (portrait(), demo_clip());
    let mut digests: Vec<Vec<String>> = Vec::new();
    for chunks in ["16..16", "64..64", "128..128", "1000000..1000000"] {
        let output = format!("out-{chunks}.mp4");
        let ran = Ran::from(bench.swap(&["-s", text(&photo), "-t", text(&clip), "-o", &output]).args([
            "--frame-limit",
            "200",
            "--chunk-frames",
            chunks,
            "--output-video-crf",
            "0",
            "--output-video-preset",
            "ultrafast",
        ]));
        assert_eq!(ran.done()["frames"], 200);
        digests.push(frame_digests(&bench.path(&output)));
    }
    assert!(digests.iter().all(|other| *other == digests[0]));
    let before = frame_digests(&clip);
    let changed = digests[0].iter().zip(&before).filter(|(after, before)| after != before).count();
    assert!(changed > 150, "{changed} of 200 frames were changed");
}

/// A phone's clip: stored sideways, with a matrix by which players turn it upright.
#[test]
fn faces_are_found_as_the_clip_is_shown() {
    let bench = Bench::new();
    let (photo, demo) = (portrait(), demo_clip());
    let encoding = "-frames:v 24 -an -c:v libx264 -preset ultrafast -crf 10 -g 12";
    let stored = bench.clip("stored.mp4", &format!("-i {} -vf transpose=cclock {encoding}", text(&demo)));
    // ffmpeg makes the tag a matrix only where it copies.
    let clip = bench.clip("phone.mov", &format!("-i {} -c copy -metadata:s:v rotate=270", text(&stored)));
    let rotation = |clip: &Path| {
        let entries = ["-select_streams", "v", "-show_entries", "stream_side_data=rotation", "-of", "csv=p=0"];
        String::from_utf8(run(Command::new("ffprobe").args(["-v", "error"]).args(entries).arg(clip))).unwrap()
    };
    assert_eq!(rotation(&clip).trim_end_matches(['\n', ',']), "-90", "anticlockwise");
    let mut digests = Vec::new();
    for chunks in ["12..12", "1000..1000"] {
        let output = format!("out-{chunks}.mov");
        let ran = Ran::from(bench.swap(&["-s", text(&photo), "-t", text(&clip), "-o", &output]).args([
            "--chunk-frames",
            chunks,
            "--output-video-crf",
            "0",
            "--output-video-preset",
            "ultrafast",
        ]));
        assert_eq!((&ran.done()["frames"], &ran.done()["frames_without_face"]), (&24.into(), &0.into()));
        assert_eq!(rotation(&bench.path(&output)), rotation(&clip), "the output is stored and turned as the clip is");
        digests.push(frame_digests(&bench.path(&output)));
    }
    assert_eq!(digests[0], digests[1], "chunks do not show");
    let before = frame_digests(&clip);
    assert!(digests[0].iter().zip(&before).all(|(after, before)| after != before), "every frame is changed");
}

#[test]
fn the_demo_keeps_every_frame_time_and_sound() {
    let bench = Bench::new();
    let (photo, clip) = (portrait(), demo_clip());
    let ran = Ran::from(&mut bench.swap(&["-s", text(&photo), "-t", text(&clip), "-o", "o.mp4"]));
    assert_eq!((&ran.done()["frames"], &ran.done()["frames_without_face"]), (&Value::from(472), &Value::from(0)));
    assert_eq!(times(&bench.path("o.mp4")), times(&clip));
}

/// R, G, B of each pixel, as ffmpeg reads them.
fn pixels(path: &Path) -> Vec<u8> {
    run(Command::new("ffmpeg").args(["-v", "error", "-i", text(path), "-pix_fmt", "rgb24", "-f", "rawvideo", "-"]))
}

#[test]
fn a_picture_changes_only_where_the_face_is() {
    let bench = Bench::new();
    let target = bench.clip("target.png", &format!("-ss 3 -i {} -frames:v 1", text(&demo_clip())));
    let probed = Ran::from(facemill().args(["probe", "--json", text(&target)]));
    assert_eq!((probed.exit, &probed.events[0]["container"]), (Some(0), &"png".into()), "{}", probed.told());
    for (output, worst_outside) in [("out.png", 0), ("out.tiff", 0), ("out.webp", 0), ("out.jpg", 16), ("out.avif", 16)]
    {
        let photo = portrait();
        let ran = Ran::from(&mut bench.swap(&["-s", text(&photo), "-t", text(&target), "-o", output]));
        let done = ran.done();
        assert_eq!((&done["frames"], &done["frames_without_face"]), (&Value::from(1), &Value::from(0)), "{output}");
        let (before, after) = (pixels(&target), pixels(&bench.path(output)));
        assert_eq!(before.len(), after.len(), "{output}");
        let changed = before.iter().zip(&after).filter(|(a, b)| a.abs_diff(**b) > 8).count();
        let share = changed as f64 / before.len() as f64;
        assert!((0.002..0.4).contains(&share), "{output}: {share} of the samples have changed");
        // The corners of the picture are no face.
        let corners = |pixels: &[u8]| [&pixels[..3000], &pixels[pixels.len() - 3000..]].concat();
        let off = corners(&before).iter().zip(corners(&after)).map(|(a, b)| a.abs_diff(b)).max();
        assert!(off.is_some_and(|off| off <= worst_outside), "{output}: {off:?}");
    }
}

#[test]
fn an_animation_resumes_stays_one_or_becomes_a_clip() {
    let bench = Bench::new();
    let target = bench.clip("target.gif", &format!("-t 1 -i {} -vf fps=10,scale=320:-2 -loop 3", text(&demo_clip())));
    let photo = portrait();
    for (output, chunks_done) in [("out.gif", 2), ("again.gif", 0), ("out.webp", 0), ("out.apng", 0)] {
        let arguments = ["-s", text(&photo), "-t", text(&target), "-o", output, "--chunk-frames", "5..5"];
        let ran = Ran::from(&mut bench.swap(&arguments));
        let done = ran.done();
        assert_eq!((&done["frames"], &done["chunks_done"]), (&Value::from(10), &Value::from(chunks_done)), "{output}");
    }
    assert_eq!(frame_digests(&bench.path("out.gif")), frame_digests(&bench.path("again.gif")));
    let clip = ["-s", text(&photo), "-t", text(&target), "-o", "out.mp4"];
    assert_eq!(Ran::from(&mut bench.swap(&clip)).done()["frames"], 10);
    assert_eq!(times(&bench.path("out.mp4")).0.len(), 10);
    for (output, target, field) in
        [("out.jpg", &target, "jpeg picture of 10 frames"), ("out.png", &demo_clip(), "png picture of a video")]
    {
        let refused = Ran::from(&mut bench.swap(&["-s", text(&photo), "-t", text(target), "-o", output]));
        assert_eq!(refused.exit, Some(3), "{output}");
        assert!(refused.told().contains(field), "{}", refused.told());
    }
}

#[test]
fn blend_ratio_zero_leaves_every_frame() {
    let bench = Bench::new();
    let (photo, clip) = (portrait(), demo_clip());
    Ran::from(bench.swap(&["-s", text(&photo), "-t", text(&clip), "-o", "o.mp4", "--blend-ratio", "0"]).args([
        "--frame-limit",
        "60",
        "--output-video-crf",
        "0",
    ]))
    .done();
    assert_eq!(frame_digests(&bench.path("o.mp4")), frame_digests(&clip)[..60]);
}
