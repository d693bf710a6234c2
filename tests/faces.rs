//! Whose face becomes whose, and by which network: `facemill swap` and `facemill models`, run as a user runs them.

mod support;
#[allow(dead_code, reason = "the library's own tests use the rest")]
#[path = "../src/vision/testing/tiny.rs"]
mod tiny;

use std::path::{Path, PathBuf};
use std::process::Command;

use facemill::vision;
use support::{Bench, Ran, demo_clip, facemill, portrait, run};
use tiny::Gives;
use vision::Catalog;

const LOSSLESS: [&str; 6] = ["--output-video-crf", "0", "--output-video-preset", "ultrafast", "--workers", "1"];

fn text(path: &Path) -> &str {
    path.to_str().expect("temporary paths are UTF-8")
}

/// Digests of the frames' left or right half.
fn half(clip: &Path, is_right: bool) -> Vec<String> {
    let crop = if is_right { "crop=iw/2:ih:iw/2:0" } else { "crop=iw/2:ih:0:0" };
    let output = Command::new("ffmpeg")
        .args(["-v", "error", "-i", text(clip), "-map", "0:v", "-vf", crop, "-f", "framemd5", "-"])
        .output()
        .expect("ffmpeg runs");
    let lines = String::from_utf8(output.stdout).unwrap();
    lines
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| line.rsplit(' ').next().unwrap().to_owned())
        .collect()
}

/// A clip of two people: at the left the one of the demo clip, at the right the one of the portrait; and a photo of the left one.
fn two_people(bench: &Bench) -> (PathBuf, PathBuf) {
    let (clip, photo) = (text(&demo_clip()).to_owned(), text(&portrait()).to_owned());
    let sides = "[0:v]scale=480:270,crop=300:270:150:0,fps=24[l];[1:v]scale=300:270:force_original_aspect_ratio=increase,\
                 crop=300:270,fps=24[r];[l][r]hstack,format=yuv420p";
    let both = bench.clip(
        "both.mp4",
        &format!("-i {clip} -loop 1 -i {photo} -filter_complex {sides} -frames:v 40 -c:v libx264 -preset ultrafast -crf 12 -an"),
    );
    let left = bench.path("left.png");
    let mut frame = Command::new("ffmpeg");
    run(frame.args(["-v", "error", "-y", "-i", &clip, "-frames:v", "1", text(&left)]));
    (both, left)
}

#[test]
fn each_of_two_people_gets_a_face_of_their_own() {
    let bench = Bench::new();
    let (both, left) = two_people(&bench);
    let photo = portrait();
    let before = [half(&both, false), half(&both, true)];
    let swapped = |name: &str, more: &[&str]| {
        let ran = Ran::from(bench.swap(&["-t", text(&both), "-o", name]).args(LOSSLESS).args(more));
        assert_eq!(ran.done()["frames"], 40, "{}", ran.told());
        [half(&bench.path(name), false), half(&bench.path(name), true)]
    };
    let changed = |after: &[Vec<String>; 2]| {
        [0, 1].map(|side| before[side].iter().zip(&after[side]).filter(|(before, after)| before != after).count())
    };
    let (source, other) = (text(&photo), text(&left));
    assert_eq!(changed(&swapped("first.mp4", &["-s", source, "--faces", "0"])), [40, 0]);
    assert_eq!(changed(&swapped("second.mp4", &["-s", other, "--faces", "1"])), [0, 40]);
    assert_eq!(
        changed(&swapped("right.mp4", &["-s", source, "--faces", "0", "--face-order", "right-left"])),
        [0, 40],
        "counted from the right"
    );
    assert_eq!(changed(&swapped("large.mp4", &["-s", source, "--faces", "all", "--detector-min-size", "400"])), [0, 0]);
    assert_eq!(changed(&swapped("third.mp4", &["-s", other, "--faces", "2"])), [0, 0]);
    let by_look = swapped("look.mp4", &["-s", source, "--reference", other]);
    assert_eq!(changed(&by_look), [40, 0], "the left one looks like the photo, the right one does not");
    assert_eq!(
        changed(&swapped("nobody.mp4", &["-s", source, "--reference", other, "--reference-distance", "0"])),
        [0, 0]
    );

    let pairs = [format!("{other}={source}"), format!("{source}={other}")];
    let pairs = ["--pair", &pairs[0], "--pair", &pairs[1]];
    let whole = swapped("pairs.mp4", &pairs);
    assert_eq!(changed(&whole), [40, 40]);
    assert_eq!(whole[0], by_look[0], "what becomes of one does not depend on the other");
    for chunks in ["7..9", "16..16"] {
        let short = swapped("short.mp4", &[&pairs[..], &["--chunk-frames", chunks]].concat());
        assert_eq!(short, whole, "who is who does not depend on chunks of {chunks}");
    }
}

#[test]
fn pairs_that_make_no_sense_are_refused() {
    let bench = Bench::new();
    let (both, left) = two_people(&bench);
    let refused = |exit: i32, named: &str, more: &[&str]| {
        let ran = Ran::from(bench.swap(&["-t", text(&both), "-o", "out.mp4"]).args(more));
        assert_eq!(ran.exit, Some(exit), "{}", ran.told());
        assert!(ran.told().contains(named), "{named}: {}", ran.told());
    };
    let portrait = portrait();
    let photo = text(&portrait);
    refused(2, "expected WHO=PHOTO", &["--pair", photo]);
    refused(2, "cannot be used with", &["-s", photo, "--pair", &format!("0={photo}")]);
    refused(2, "expected largest, all, or a place", &["-s", photo, "--faces", "left"]);
    refused(2, "large-small", &["-s", photo, "--faces", "0", "--face-order", "middle"]);
    refused(3, "swap.face_order", &["-s", photo, "--face-order", "small-large"]);
    refused(3, "swap.colour_match", &["-s", photo, "--colour-match", "lab"]);
    refused(3, "people[1].who.position", &["--pair", &format!("0={photo}"), "--pair", &format!("0={}", text(&left))]);
    refused(3, "pair", &["--pair", "nobody.png=nobody.jpg"]);
    let faceless = bench.clip("faceless.png", "-f lavfi -i color=gray:s=200x200 -frames:v 1");
    refused(3, "people[0].who.reference.photo", &["--pair", &format!("{}={photo}", text(&faceless))]);
}

#[test]
fn a_network_of_the_models_folder_swaps() {
    let bench = Bench::new();
    let clip = bench.clip(
        "clip.mp4",
        &format!("-i {} -frames:v 40 -c:v libx264 -preset ultrafast -crf 12 -an", text(&demo_clip())),
    );
    let (incoming, models) = (bench.path("incoming"), bench.path("models"));
    std::fs::create_dir_all(&incoming).unwrap();
    let known = Catalog::builtin().unwrap();
    let embedding = (0..512).map(|place| place as f32).collect();
    tiny::write(&known, "arcface_w600k_r50", &incoming, &[Gives::Values(embedding)], None);
    tiny::write(&known, "hyperswap_1a_256", &incoming, &[Gives::Everywhere(0.7), Gives::Everywhere(1.0)], None);
    tiny::write(&known, "gfpgan_1.4", &incoming, &[Gives::Everywhere(-1.0)], None);
    tiny::write(&known, "xseg_1", &incoming, &[Gives::Everywhere(0.8)], None);
    let facemill = |arguments: &[&str]| {
        let output = facemill().args(arguments).env("FACEMILL_MODELS", &models).output().expect("facemill runs");
        (
            output.status.code(),
            String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr),
        )
    };
    let swap = |name: &str, more: &[&str]| {
        let mut command = bench.swap(&["-s", text(&portrait()), "-t", text(&clip), "-o", name]);
        Ran::from(command.args(LOSSLESS).args(more).env("FACEMILL_MODELS", &models))
    };
    let refused = swap("out.mp4", &["--swapper", "hyperswap_1a_256"]);
    assert_eq!(refused.exit, Some(3), "{}", refused.told());
    assert!(refused.told().contains("hyperswap_1a_256 is not installed"), "{}", refused.told());

    for file in ["arcface_w600k_r50.onnx", "hyperswap_1a_256.onnx", "gfpgan_1.4.onnx", "xseg_1.onnx"] {
        let (exit, told) = facemill(&["models", "add", text(&incoming.join(file))]);
        assert_eq!(exit, Some(0), "{told}");
        assert!(told.contains("licence: "), "{told}");
    }
    let (_, told) = facemill(&["models", "list", "--role", "swapper"]);
    assert!(told.contains("hyperswap_1a_256") && !told.contains("inswapper_128"), "{told}");
    assert!(facemill(&["models", "list", "--all"]).1.contains("inswapper_128"));
    let (exit, told) = facemill(&["models", "show", "hyperswap_1a_256"]);
    assert!(exit == Some(0) && told.contains("works with  arcface_w600k_r50"), "{told}");
    assert_eq!(facemill(&["models", "verify"]).0, Some(0));

    let whole = swap("whole.mp4", &["--swapper", "hyperswap_1a_256"]);
    assert_eq!(whole.done()["frames"], 40, "{}", whole.told());
    let frames = |name: &str| [half(&bench.path(name), false), half(&bench.path(name), true)];
    assert_ne!(frames("whole.mp4"), [half(&clip, false), half(&clip, true)]);
    swap("short.mp4", &["--swapper", "hyperswap_1a_256", "--chunk-frames", "7..9"]).done();
    assert_eq!(frames("short.mp4"), frames("whole.mp4"), "whatever the chunks are");
    swap(
        "restored.mp4",
        &[
            "--swapper",
            "hyperswap_1a_256",
            "--restorer",
            "gfpgan_1.4",
            "--face-size",
            "512",
            "--mask-padding",
            "10,0,0,5",
            "--mask-hull",
        ],
    )
    .done();
    assert_ne!(frames("restored.mp4"), frames("whole.mp4"));
    let blended = ["--swapper", "hyperswap_1a_256", "--colour-match", "relight", "--texture-match"];
    swap("blended.mp4", &blended).done();
    assert_ne!(frames("blended.mp4"), frames("whole.mp4"));
    swap("blended-short.mp4", &[&blended[..], &["--chunk-frames", "7..9"]].concat()).done();
    assert_eq!(frames("blended-short.mp4"), frames("blended.mp4"), "grain hangs on the frame's number, not on chunks");

    // With another network beside the swapper, too.
    let occluder = ["--swapper", "hyperswap_1a_256", "--mask-occluder", "xseg_1"];
    swap("occluder.mp4", &occluder).done();
    swap("occluder-short.mp4", &[&occluder[..], &["--chunk-frames", "7..9"]].concat()).done();
    assert_eq!(frames("occluder-short.mp4"), frames("occluder.mp4"));
    assert_ne!(frames("occluder.mp4"), frames("whole.mp4"));

    // A file that no card names, dropped into the folder, under its own name.
    std::fs::copy(models.join("hyperswap_1a_256.onnx"), models.join("mine.onnx")).unwrap();
    let ambiguous = swap("mine.mp4", &["--swapper", "mine"]);
    assert_eq!(ambiguous.exit, Some(3), "{}", ambiguous.told());
    assert!(
        ambiguous.told().contains("hyperswap_1a_256, hyperswap_1b_256, hyperswap_1c_256")
            || ambiguous.told().contains("several cards"),
        "{}",
        ambiguous.told()
    );
    let size = swap("size.mp4", &["--swapper", "hyperswap_1a_256", "--face-size", "300"]);
    assert_eq!(size.exit, Some(3), "{}", size.told());
    assert!(size.told().contains("face size is 300"), "{}", size.told());

    // What gives no picture fails its job, with the reason; the lane is replaced, and nothing else is lost.
    tiny::write(&known, "gfpgan_1.4", &models, &[Gives::Everywhere(f32::NAN)], None);
    let no_picture = swap("nan.mp4", &["--restorer", "gfpgan_1.4"]);
    assert_eq!(no_picture.exit, Some(1), "{}", no_picture.told());
    assert!(no_picture.told().contains("run model gfpgan_1.4: output output is NaN"), "{}", no_picture.told());
    assert!(!bench.path("nan.mp4").exists());

    // A file that has gone bad.
    let file = models.join("hyperswap_1a_256.onnx");
    let bytes = std::fs::read(&file).unwrap();
    std::fs::write(&file, &bytes[..bytes.len() / 3]).unwrap();
    assert_eq!(facemill(&["models", "verify", "hyperswap_1a_256"]).0, Some(1));
    let broken = swap("broken.mp4", &["--swapper", "hyperswap_1a_256"]);
    assert_ne!(broken.exit, Some(0));
    assert!(broken.told().contains("hyperswap_1a_256") && !bench.path("broken.mp4").exists(), "{}", broken.told());
}

#[test]
fn the_operators_gate_refuses_before_any_work() {
    let bench = Bench::new();
    let source = text(&demo_clip()).to_owned();
    let clip = bench.clip("clip.mp4", &format!("-i {source} -frames:v 20 -c:v libx264 -preset ultrafast -an"));
    let models = bench.path("models");
    let swap = |mode: &str| {
        let mut command = bench.swap(&["-s", text(&portrait()), "-t", text(&clip), "-o", "out.mp4"]);
        Ran::from(command.env("FACEMILL_MODELS", &models).env("FACEMILL_INGEST__GATE", mode))
    };
    let missing = swap("required");
    assert_eq!(missing.exit, Some(3), "{}", missing.told());
    assert!(missing.told().contains("ingest.gate") && missing.told().contains("open_nsfw"), "{}", missing.told());
    std::fs::create_dir_all(&models).unwrap();
    for (scores, exit) in [(vec![9.0, 0.0], 3), (vec![0.0, 9.0], 0)] {
        tiny::write(&Catalog::builtin().unwrap(), "nsfw_2", &models, &[Gives::Values(scores)], None);
        let judged = swap("auto");
        assert_eq!(judged.exit, Some(exit), "{}", judged.told());
        assert_eq!(judged.told().contains("target: content: "), exit == 3, "{}", judged.told());
        assert_eq!(bench.path("out.mp4").exists(), exit == 0);
    }
    tiny::write(&Catalog::builtin().unwrap(), "nsfw_2", &models, &[Gives::Values(vec![9.0, 0.0])], None);
    swap("off").done();
    let (stills, swapped) = (bench.path("stills"), bench.path("swapped"));
    std::fs::create_dir_all(&stills).unwrap();
    std::fs::create_dir_all(&swapped).unwrap();
    std::fs::copy(portrait(), stills.join("one.jpg")).unwrap();
    let mut folder = bench.swap(&["-s", text(&portrait()), "-t", text(&stills), "-o", text(&swapped)]);
    let judged = Ran::from(folder.env("FACEMILL_MODELS", &models));
    assert_eq!(judged.exit, Some(3), "{}", judged.told());
    assert!(judged.told().contains("target: content: 1 of 1 sampled"), "{}", judged.told());
    let doctor = facemill().arg("doctor").env("FACEMILL_MODELS", &models).output().expect("facemill runs");
    let told = String::from_utf8_lossy(&doctor.stdout);
    assert!(doctor.status.success() && told.contains("nsfw_2"), "{told}");
}
