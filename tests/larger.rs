//! Frames made larger by a network, run as a user runs it: `facemill swap --upscaler`.

mod support;
#[allow(dead_code, reason = "the library's own tests use the rest")]
#[path = "../src/vision/testing/tiny.rs"]
mod tiny;

use std::path::Path;
use std::process::Command;

use facemill::vision;
use support::{Bench, Ran, demo_clip, portrait};
use tiny::Gives;
use vision::Catalog;

const LOSSLESS: [&str; 4] = ["--output-video-crf", "0", "--output-video-preset", "ultrafast"];

fn text(path: &Path) -> &str {
    path.to_str().expect("temporary paths are UTF-8")
}

/// `facemill swap` with these arguments; its networks are in the bench's folder `models`, among them one that repeats each pixel twice.
fn swap(bench: &Bench, arguments: &[&str]) -> Ran {
    let models = bench.path("models");
    std::fs::create_dir_all(&models).unwrap();
    tiny::write(&Catalog::builtin().unwrap(), "real_esrgan_x2", &models, &[Gives::Larger("input", 1, 2)], None);
    let mut command = bench.swap(arguments);
    Ran::from(command.env("FACEMILL_MODELS", &models))
}

/// What ffprobe tells of the first video stream.
fn told(file: &Path, entries: &str) -> String {
    let show = format!("stream={entries}:stream_side_data=rotation");
    let arguments =
        ["-v", "error", "-count_frames", "-select_streams", "v:0", "-show_entries", &show, "-of", "csv=p=0"];
    let output = Command::new("ffprobe").args(arguments).arg(file).output().expect("ffprobe runs");
    String::from_utf8(output.stdout).unwrap().trim().trim_end_matches(',').to_owned()
}

/// Digests of what an FFmpeg filter makes of the frames.
fn frames(file: &Path, filter: &str) -> Vec<String> {
    let output = Command::new("ffmpeg")
        .args(["-v", "error", "-i", text(file), "-map", "0:v:0", "-vf", filter, "-f", "framemd5", "-"])
        .output()
        .expect("ffmpeg runs");
    let lines = String::from_utf8(output.stdout).unwrap();
    let digests = lines.lines().filter(|line| !line.starts_with('#'));
    digests.map(|line| line.rsplit(' ').next().unwrap().to_owned()).collect()
}

/// The mean error of luma between a clip and one made larger, of 255.
fn apart(small: &Path, larger: &Path, size: &str) -> f64 {
    let graph = format!("[1:v]scale={size}:flags=neighbor,format=yuv420p[b];[0:v]format=yuv420p[a];[a][b]psnr");
    let output = Command::new("ffmpeg")
        .args(["-v", "info", "-i", text(small), "-i", text(larger), "-lavfi", &graph, "-f", "null", "-"])
        .output()
        .expect("ffmpeg runs");
    let log = String::from_utf8_lossy(&output.stderr).into_owned();
    let psnr = log.split("PSNR y:").nth(1).and_then(|rest| rest.split(' ').next()).expect("psnr is told");
    255.0 / 10f64.powf(psnr.parse::<f64>().unwrap_or(99.0) / 20.0)
}

#[test]
fn a_clip_comes_out_twice_as_large_and_plays() {
    let bench = Bench::new();
    let clip = bench.clip(
        "clip.mp4",
        "-f lavfi -i testsrc2=s=322x178:r=25:d=1 -f lavfi -i sine=d=1 -vf setsar=4/3 -c:v libx264 -crf 12 -pix_fmt yuv420p -c:a aac",
    );
    let whole = ["-t", text(&clip), "-o", "whole.mp4", "--swapper", "none", "--upscaler", "real_esrgan_x2"];
    let whole = swap(&bench, &[&whole[..], &["--upscaler-blend", "1.0"], &LOSSLESS].concat());
    assert_eq!(whole.done()["frames"], 25, "{}", whole.told());
    let larger = bench.path("whole.mp4");
    assert_eq!(told(&larger, "width,height,sample_aspect_ratio,pix_fmt,nb_read_frames"), "644,356,4:3,yuv420p,25");
    let error = apart(&clip, &larger, "322:178");
    assert!(error < 1.5, "{error}");
    let sound = |file: &Path| {
        let arguments = ["-v", "error", "-i", text(file), "-map", "0:a", "-c", "copy", "-f", "md5", "-"];
        Command::new("ffmpeg").args(arguments).output().expect("ffmpeg runs").stdout
    };
    assert_eq!(sound(&larger), sound(&clip));

    let short = ["-t", text(&clip), "-o", "short.mp4", "--swapper", "none", "--upscaler", "real_esrgan_x2"];
    let short = swap(&bench, &[&short[..], &["--upscaler-blend", "1", "--chunk-frames", "5..7"], &LOSSLESS].concat());
    short.done();
    assert_eq!(frames(&bench.path("short.mp4"), "null"), frames(&larger, "null"), "whatever the chunks are");
}

#[test]
fn deep_turned_and_interlaced_clips_stay_what_they_are() {
    let bench = Bench::new();
    let size = "-f lavfi -i testsrc2=s=160x96:r=25:d=0.4";
    let hdr = bench.clip(
        "hdr.mkv",
        &format!("{size} -c:v libx265 -x265-params log-level=error -pix_fmt yuv420p10le -color_trc smpte2084 -color_primaries bt2020 -colorspace bt2020nc"),
    );
    let plain = bench.clip("plain.mp4", &format!("{size} -c:v libx264 -pix_fmt yuv420p"));
    let turned = bench.clip("turned.mp4", &format!("-i {} -c copy -metadata:s:v rotate=90", text(&plain)));
    let fields =
        bench.clip("fields.mkv", &format!("{size} -vf setfield=tff -c:v libx264 -flags +ilme+ildct -pix_fmt yuv420p"));
    let run = |clip: &Path, name: &str, more: &[&str]| {
        let base = ["-t", text(clip), "-o", name, "--swapper", "none", "--upscaler", "real_esrgan_x2"];
        swap(&bench, &[&base[..], more].concat()).done();
        bench.path(name)
    };
    let larger = run(&hdr, "hdr-2.mkv", &["--output-video-encoder", "libx265"]);
    assert_eq!(
        told(&larger, "width,height,pix_fmt,color_space,color_transfer,color_primaries"),
        "320,192,yuv420p10le,bt2020nc,smpte2084,bt2020"
    );
    assert!(apart(&hdr, &larger, "160:96") < 3.0, "{}", apart(&hdr, &larger, "160:96"));
    let larger = run(&turned, "turned-2.mp4", &[]);
    assert_eq!(told(&larger, "width,height"), told(&turned, "width,height").replace("160,96", "320,192"));
    let larger = run(&fields, "fields-2.mkv", &[]);
    assert_eq!(told(&fields, "field_order"), "tb", "top field first");
    assert_eq!(told(&larger, "width,field_order"), "320,progressive");
}

#[test]
fn faces_are_swapped_before_frames_are_made_larger() {
    let bench = Bench::new();
    let clip = bench
        .clip("clip.mp4", &format!("-i {} -frames:v 10 -vf scale=320:-2 -c:v libx264 -crf 12 -an", text(&demo_clip())));
    let photo = portrait();
    let base = ["-s", text(&photo), "-t", text(&clip)];
    swap(&bench, &[&base[..], &["-o", "plain.mp4"], &LOSSLESS].concat()).done();
    let upscaler = ["--upscaler", "real_esrgan_x2", "--upscaler-blend", "1"];
    swap(&bench, &[&base[..], &["-o", "larger.mp4"], &upscaler, &LOSSLESS].concat()).done();
    let (plain, larger) = (bench.path("plain.mp4"), bench.path("larger.mp4"));
    assert_eq!(told(&larger, "width,nb_read_frames"), "640,10");
    assert!(apart(&plain, &larger, "320:180") < 1.0, "{}", apart(&plain, &larger, "320:180"));
    assert!(apart(&clip, &larger, "320:180") > 1.5, "{}", apart(&clip, &larger, "320:180"));
}

#[test]
fn a_label_is_drawn_after_frames_were_made_larger() {
    let bench = Bench::new();
    let clip =
        bench.clip("clip.mp4", "-f lavfi -i testsrc2=s=320x180:r=25:d=0.2 -c:v libx264 -crf 12 -pix_fmt yuv420p");
    let upscaler = ["--upscaler", "real_esrgan_x2", "--upscaler-blend", "1"];
    let label = ["--label", "AI生成", "--label-height", "0.1"];
    let run = |target: &Path, name: &str, more: &[&str]| {
        let base = ["-t", text(target), "-o", name, "--swapper", "none"];
        swap(&bench, &[&base[..], &LOSSLESS, more].concat()).done();
        bench.path(name)
    };
    let plain = run(&clip, "plain.mp4", &upscaler);
    let at_once = run(&clip, "at-once.mp4", &[&upscaler[..], &label].concat());
    let one_by_one = run(&plain, "one-by-one.mp4", &label);
    assert_eq!(frames(&at_once, "null"), frames(&one_by_one, "null"));
    assert_ne!(frames(&at_once, "null"), frames(&plain, "null"));
}

#[test]
fn pictures_keep_their_transparency_and_their_frames() {
    let bench = Bench::new();
    let still = bench.path("still.png");
    image::RgbaImage::from_fn(40, 30, |x, y| image::Rgba([200, 5 * y as u8, 60, if x < 20 { 0 } else { 255 }]))
        .save(&still)
        .unwrap();
    let gif = bench.clip("moves.gif", "-f lavfi -i testsrc2=s=80x60:r=10:d=0.5");
    let run = |target: &Path, name: &str| {
        let upscaler = ["--swapper", "none", "--upscaler", "real_esrgan_x2", "--upscaler-blend", "1"];
        swap(&bench, &[&["-t", text(target), "-o", name][..], &upscaler].concat()).done();
        bench.path(name)
    };
    let larger = image::open(run(&still, "still-2.png")).unwrap().to_rgba8();
    assert_eq!(larger.dimensions(), (80, 60));
    assert_eq!((larger.get_pixel(10, 30).0[3], larger.get_pixel(70, 30).0), (0, [200, 75, 60, 255]));
    let larger = run(&gif, "moves-2.gif");
    assert_eq!(told(&larger, "width,height,nb_read_frames"), "160,120,5");
}

#[test]
fn what_would_be_too_large_is_refused_before_any_work() {
    let bench = Bench::new();
    let clip = bench.clip("clip.mp4", "-f lavfi -i testsrc2=s=320x180:r=25:d=0.4 -c:v libx264 -pix_fmt yuv420p");
    let ran = |id: &str, width: &str| {
        swap(&bench, &["-t", text(&clip), "-o", "out.mp4", "--swapper", "none"]).done(); // the network is there now
        let mut command = bench.swap(&["-t", text(&clip), "-o", "out.mp4", "--swapper", "none", "--upscaler", id]);
        Ran::from(command.env("FACEMILL_MODELS", bench.path("models")).env("FACEMILL_LIMITS__WIDTH", width))
    };
    let refused = ran("real_esrgan_x2", "600");
    assert_eq!(refused.exit, Some(3), "{}", refused.told());
    assert!(
        refused.told().contains("swap.upscaler: 320x180 pixels become 640x360 (expected at most 600x8192"),
        "{}",
        refused.told()
    );
    assert_eq!(ran("real_esrgan_x2", "640").exit, Some(0));
    let absent = ran("real_esrgan_x4", "8192");
    assert_eq!(absent.exit, Some(3), "{}", absent.told());
    assert!(absent.told().contains("real_esrgan_x4 is not installed"), "{}", absent.told());
    let other = ran("sface_2021dec", "8192");
    assert!(other.exit == Some(3) && other.told().contains("is a recogniser"), "{}", other.told());
}
