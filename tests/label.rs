//! A text in the frames, as a user has it drawn: `facemill swap --label`.

mod support;

use std::path::{Path, PathBuf};
use std::process::Command;

use image::{DynamicImage, RgbaImage};
use support::{Bench, Ran, frame_digests, run};

const PASS: [&str; 2] = ["--swapper", "none"];
const LOSSLESS: [&str; 4] = ["--output-video-crf", "0", "--output-video-preset", "ultrafast"];

fn text(path: &Path) -> &str {
    path.to_str().expect("temporary paths are UTF-8")
}

fn swap(bench: &Bench, target: &Path, output: &str, more: &[&str]) -> Ran {
    let ran = Ran::from(bench.swap(&["-t", text(target), "-o", output]).args(PASS).args(more));
    ran.done();
    ran
}

/// Frame `number` of a clip as players show it.
fn shown(bench: &Bench, clip: &Path, number: u32) -> RgbaImage {
    let picture = bench.path("shown.png");
    let select = format!("select=eq(n\\,{number}),scale=iw*sar:ih,setsar=1");
    let mut command = Command::new("ffmpeg");
    command
        .args(["-nostdin", "-v", "error", "-y", "-i"])
        .arg(clip)
        .args(["-vf", &select, "-frames:v", "1"])
        .arg(&picture);
    run(&mut command);
    image::open(picture).unwrap().into_rgba8()
}

/// Left, top, right and bottom of what differs by more than a tenth, and how many pixels of `labelled` are white there.
fn label_in(labelled: &RgbaImage, plain: &RgbaImage) -> ([u32; 4], usize) {
    assert_eq!(labelled.dimensions(), plain.dimensions());
    let mut found = ([u32::MAX, u32::MAX, 0, 0], 0);
    for ((x, y, new), old) in labelled.enumerate_pixels().zip(plain.pixels()) {
        if new.0.iter().zip(old.0).any(|(new, old)| new.abs_diff(old) > 25) {
            let ([left, top, right, bottom], white) = found;
            let is_white = new.0.iter().all(|&sample| sample > 225);
            found = ([left.min(x), top.min(y), right.max(x), bottom.max(y)], white + usize::from(is_white));
        }
    }
    found
}

#[test]
fn the_first_seconds_bear_it_and_no_other_sample_changes() {
    let bench = Bench::new();
    let clip = bench.test_clip("clip.mp4", 75, 25);
    let label = ["--label", "AI-generated · 人工智能合成", "--label-seconds", "1"];
    swap(&bench, &clip, "plain.mp4", &LOSSLESS);
    swap(&bench, &clip, "whole.mp4", &[&label[..], &LOSSLESS].concat());
    let short = swap(&bench, &clip, "short.mp4", &[&label[..], &LOSSLESS, &["--chunk-frames", "9..9"]].concat());
    assert_eq!(short.done()["chunks_done"], 9, "{}", short.told());

    let [plain, whole, short] = ["plain.mp4", "whole.mp4", "short.mp4"].map(|name| bench.path(name));
    let [of_plain, of_whole, of_short] = [&plain, &whole, &short].map(|clip| frame_digests(clip));
    assert_eq!(of_whole, of_short, "whatever the chunks are");
    assert_eq!(of_whole[25..], of_plain[25..], "after the first second");
    assert_eq!(of_plain.len(), 75);
    assert!(of_whole[..25].iter().zip(&of_plain).all(|(labelled, plain)| labelled != plain), "within it");

    let ([left, top, right, bottom], white) = label_in(&shown(&bench, &whole, 24), &shown(&bench, &plain, 24));
    assert!(
        left > 100 && top > 155 && right < 320 && bottom < 180 && white > 50,
        "{left} {top} {right} {bottom}: {white}"
    );

    // Chunks behind the label, and those that it fills, are the same with another one.
    let longer = ["--label", "AI-generated · 人工智能合成", "--label-seconds", "2", "--chunk-frames", "9..9"];
    let longer = swap(&bench, &clip, "longer.mp4", &[&longer[..], &LOSSLESS].concat());
    assert_eq!((&longer.done()["chunks_done"], &longer.done()["chunks_reused"]), (&4.into(), &5.into()));
    assert_eq!(frame_digests(&bench.path("longer.mp4"))[50..], of_plain[50..]);
}

/// The same clip, shown mirrored: the first number of its display matrix (ISO/IEC 14496-12, 8.3.2: 44 bytes behind the box's name) becomes −1.
fn mirrored(bench: &Bench, clip: &Path) -> PathBuf {
    let mut bytes = std::fs::read(clip).unwrap();
    let matrix = bytes.windows(4).position(|name| name == b"tkhd").expect("there is a track") + 44;
    assert_eq!(bytes[matrix..][..4], [0, 1, 0, 0], "one, with 16 bits behind the point");
    bytes[matrix..][..4].copy_from_slice(&[0xFF, 0xFF, 0, 0]);
    let path = bench.path("mirrored.mp4");
    std::fs::write(&path, bytes).unwrap();
    path
}

#[test]
fn deep_turned_and_narrow_clips_bear_it_upright() {
    let bench = Bench::new();
    let source = "-f lavfi -i testsrc2=s=320x180:r=25:d=0.4";
    let flat = bench.clip("flat.mp4", &format!("{source} -c:v libx264 -pix_fmt yuv420p"));
    let turned = bench.clip("turned.mp4", &format!("-i {} -c copy -metadata:s:v rotate=90", text(&flat)));
    let hdr = bench.clip(
        "hdr.mkv",
        &format!("{source} -c:v libx265 -x265-params log-level=error -pix_fmt yuv420p10le -color_trc arib-std-b67 -color_primaries bt2020 -colorspace bt2020nc"),
    );
    let narrow =
        bench.clip("narrow.mp4", &format!("{source} -vf scale=160:180,setsar=2 -c:v libx264 -pix_fmt yuv444p"));
    let check = |clip: &Path, name: &str, size: (u32, u32), least_white: usize| {
        let more = ["--output-video-encoder", "auto", "--output-video-crf", "0"];
        let label = ["--label", "AI生成", "--label-position", "top-left", "--label-height", "0.1"];
        swap(&bench, clip, &format!("plain-{name}"), &more);
        swap(&bench, clip, name, &[&more[..], &label].concat());
        let [labelled, plain] =
            [name.to_owned(), format!("plain-{name}")].map(|name| shown(&bench, &bench.path(&name), 5));
        let ([left, top, right, bottom], white) = label_in(&labelled, &plain);
        assert_eq!(labelled.dimensions(), size, "{name}");
        let (width, height) = (right - left, bottom - top);
        let is_upright = left < 12 && top < 12 && (60..100).contains(&width) && (20..42).contains(&height);
        assert!(is_upright && white >= least_white, "{name}: {left} {top} {right} {bottom}, {white} white");
    };
    check(&flat, "flat-out.mp4", (320, 180), 100);
    check(&turned, "turned-out.mp4", (180, 320), 100);
    check(&mirrored(&bench, &flat), "mirrored-out.mp4", (320, 180), 100);
    check(&narrow, "narrow-out.mp4", (320, 180), 100);
    check(&hdr, "hdr-out.mkv", (320, 180), 0); // as a signal, white is grey there
    let digests = |name: &str| frame_digests(&bench.path(name));
    assert_ne!(digests("hdr-out.mkv"), digests("plain-hdr-out.mkv"));
}

#[test]
fn pictures_bear_it_alone_and_in_folders() {
    let bench = Bench::new();
    let label = ["--label", "AI生成", "--label-height", "0.2", "--label-seconds", "3"];
    let (photos, swapped) = (bench.path("photos"), bench.path("swapped"));
    std::fs::create_dir(&photos).unwrap();
    std::fs::create_dir(&swapped).unwrap();
    let picture = RgbaImage::from_fn(160, 90, |x, y| image::Rgba([200, 2 * y as u8, 60, if x < 80 { 255 } else { 0 }]));
    picture.save(photos.join("a.png")).unwrap();
    let opaque = DynamicImage::ImageRgba8(RgbaImage::from_pixel(160, 90, image::Rgba([40, 120, 60, 255])));
    opaque.to_rgb8().save(photos.join("b.jpg")).unwrap();
    opaque.to_luma16().save(photos.join("c.png")).unwrap();
    bench.clip("photos/d.png", "-f lavfi -i testsrc2=s=160x90 -frames:v 1");
    swap(&bench, &photos, "swapped/", &label);
    for name in ["a.png", "b.jpg", "c.png", "d.png"] {
        swap(&bench, &photos.join(name), name, &label);
        let [alone, among] = [bench.path(name), swapped.join(name)].map(|path| image::open(path).unwrap());
        assert!(alone == among, "{name}");
        let [before, after] = [photos.join(name), bench.path(name)].map(|path| image::open(path).unwrap());
        assert!(before.color() == after.color(), "{name}");
        let ([left, top, ..], white) = label_in(&after.into_rgba8(), &before.into_rgba8());
        assert!(left > 70 && top > 50 && white > 40, "{name}: {left} {top}, {white} white");
    }
    let after = image::open(bench.path("a.png")).unwrap().into_rgba8();
    let letters = after.pixels().filter(|pixel| pixel.0 == [255; 4]).count();
    let untouched = picture.enumerate_pixels().filter(|(x, y, before)| after.get_pixel(*x, *y) == *before).count();
    assert!(letters > 40 && untouched > 160 * 90 - 90 * 40, "{letters} {untouched}");
    swap(&bench, &photos.join("d.png"), "d.avif", &label);
    assert!(std::fs::metadata(bench.path("d.avif")).unwrap().len() > 500);

    // 256 colours are in use already.
    let gif = bench.clip("moves.gif", "-f lavfi -i testsrc2=s=160x90:r=10:d=0.5");
    swap(&bench, &gif, "plain-out.gif", &[]);
    swap(&bench, &gif, "moves-out.gif", &label);
    let [labelled, plain] = ["moves-out.gif", "plain-out.gif"].map(|name| shown(&bench, &bench.path(name), 4));
    let ([left, top, ..], white) = label_in(&labelled, &plain);
    assert!(left > 70 && top > 50 && white > 40, "{left} {top}, {white} white");
}

#[test]
fn what_cannot_be_drawn_is_refused_and_what_does_not_fit_is_told() {
    let bench = Bench::new();
    let clip = bench.test_clip("clip.mp4", 5, 5);
    let refused = Ran::from(bench.swap(&["-t", text(&clip), "-o", "out.mp4", "--label", "by 🤖"]).args(PASS));
    assert_eq!(refused.exit, Some(3), "{}", refused.told());
    assert!(refused.told().contains("label.text: '🤖' (U+1F916)"), "{}", refused.told());
    let long = "This video was made by a machine, and nobody in it has ever said what they seem to say in it here.";
    let smaller = swap(&bench, &clip, "out.mp4", &["--label", long, "--label-height", "0.3"]);
    assert!(smaller.told().contains("label.text does not fit at 30.0 % of the shorter side"), "{}", smaller.told());
    let fits = swap(&bench, &clip, "out.mp4", &["--label", "AI-generated"]);
    assert!(!fits.told().contains("label.text"), "{}", fits.told());
}
