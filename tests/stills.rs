//! Folders of stills, as a user has them swapped.

mod support;

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use image::{DynamicImage, ImageReader, Rgb, RgbImage};
use serde_json::Value;
use support::{Bench, Ran, Running, demo_clip, facemill, portrait, run};

const PASS: [&str; 2] = ["--swapper", "none"];

fn text(path: &Path) -> &str {
    path.to_str().expect("temporary paths are UTF-8")
}

fn open(path: &Path) -> DynamicImage {
    ImageReader::open(path).unwrap().with_guessed_format().unwrap().decode().unwrap()
}

fn names_in(folder: &Path) -> Vec<String> {
    let name = |entry: std::io::Result<fs::DirEntry>| entry.unwrap().file_name().into_string().unwrap();
    let mut names: Vec<String> = fs::read_dir(folder).unwrap().map(name).collect();
    names.sort();
    names
}

fn picture(path: &Path, width: u32, height: u32) {
    RgbImage::from_fn(width, height, |x, y| Rgb([(x * 3) as u8, (y * 5) as u8, (x ^ y) as u8])).save(path).unwrap();
}

/// A JPEG that is shown turned by a quarter: an EXIF block with tag 0x0112 = 6 behind its first marker.
fn turned_jpeg(path: &Path, width: u32, height: u32) {
    picture(path, width, height);
    let plain = fs::read(path).unwrap();
    let tiff = b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0";
    let exif = [&b"Exif\0\0"[..], tiff].concat();
    let length = (exif.len() as u16 + 2).to_be_bytes();
    fs::write(path, [&plain[..2], &[0xFF, 0xE1], &length, &exif, &plain[2..]].concat()).unwrap();
}

/// `photos/` with a still of each kind and what is none, and an empty `swapped/`.
fn photos(bench: &Bench) -> (PathBuf, PathBuf) {
    let (photos, swapped) = (bench.path("photos"), bench.path("swapped"));
    fs::create_dir_all(photos.join("below")).unwrap();
    fs::create_dir(&swapped).unwrap();
    picture(&photos.join("a.png"), 64, 48);
    turned_jpeg(&photos.join("b turned.jpg"), 80, 40);
    picture(&photos.join("c.webp"), 50, 70);
    picture(&photos.join("d.tiff"), 33, 21);
    // The name says nothing.
    fs::rename(photos.join("d.tiff"), photos.join("d.dat")).unwrap();
    fs::write(photos.join("notes.txt"), "no still").unwrap();
    fs::write(photos.join(".hidden.png"), "hidden").unwrap();
    picture(&photos.join("below/e.png"), 16, 16);
    bench.clip("photos/moving.gif", "-f lavfi -i testsrc2=s=32x32:r=10:d=0.5");
    (photos, swapped)
}

#[test]
fn each_still_comes_out_under_its_name_and_in_its_format() {
    let bench = Bench::new();
    let (photos, swapped) = photos(&bench);
    let command = || {
        let mut command = bench.swap(&["-t", "photos", "-o", "swapped/"]);
        command.args(PASS);
        command
    };
    let first = Ran::from(&mut command());
    assert_eq!((&first.done()["frames"], &first.done()["chunks_done"]), (&4.into(), &4.into()), "{}", first.told());
    for told in [
        "left out, no stills: notes.txt",
        "left out, animations: moving.gif",
        "left out, folders (only the folder's own files are taken): below",
    ] {
        assert!(first.told().contains(told), "{told} is not told: {}", first.told());
    }
    assert!(!first.told().contains("hidden"), "{}", first.told());
    let names = ["a.png", "b turned.jpg", "c.webp", "d.dat"];
    assert_eq!(names_in(&swapped), names);
    for name in names {
        let (before, after) = (fs::read(photos.join(name)).unwrap(), fs::read(swapped.join(name)).unwrap());
        assert_eq!(before[..3], after[..3], "{name}: another format");
        let (before, after) = (open(&photos.join(name)), open(&swapped.join(name)));
        if name == "b turned.jpg" {
            assert_eq!((after.width(), after.height()), (40, 80), "{name} is upright");
        } else {
            assert_eq!(before, after, "{name}");
        }
    }

    let made: Vec<_> = names.iter().map(|name| open(&swapped.join(name))).collect();
    let second = Ran::from(&mut command());
    assert_eq!((&second.done()["chunks_done"], &second.done()["chunks_reused"]), (&0.into(), &4.into()));
    fs::remove_file(swapped.join("c.webp")).unwrap();
    let third = Ran::from(&mut command());
    assert_eq!((&third.done()["chunks_done"], &third.done()["chunks_reused"]), (&0.into(), &4.into()));
    let again: Vec<_> = names.iter().map(|name| open(&swapped.join(name))).collect();
    assert!(made == again);

    // One still more is another job, and all that the first one made is reused.
    picture(&photos.join("0.png"), 20, 20);
    let more = Ran::from(&mut command());
    assert_eq!((&more.done()["chunks_done"], &more.done()["chunks_reused"]), (&1.into(), &4.into()));
    assert_eq!(names_in(&swapped).len(), 5);
    let limited = Ran::from(command().args(["--frame-limit", "2"]));
    assert_eq!((&limited.done()["frames"], &limited.done()["chunks_reused"]), (&2.into(), &2.into()));
}

#[test]
fn a_still_of_a_folder_is_the_same_as_alone_and_one_without_a_face_stays() {
    let bench = Bench::new();
    let (photos, swapped) = (bench.path("photos"), bench.path("swapped"));
    fs::create_dir(&photos).unwrap();
    fs::create_dir(&swapped).unwrap();
    let clip = demo_clip();
    bench.clip("photos/face.png", &format!("-ss 3 -i {} -frames:v 1", text(&clip)));
    bench.clip("photos/other.png", &format!("-ss 6 -i {} -frames:v 1", text(&clip)));
    bench.clip("photos/nobody.png", "-f lavfi -i testsrc2=s=320x240 -frames:v 1");
    let photo = portrait();
    let all = Ran::from(&mut bench.swap(&["-s", text(&photo), "-t", "photos", "-o", "swapped"]));
    let done = all.done();
    assert_eq!((&done["frames"], &done["frames_without_face"]), (&3.into(), &1.into()), "{}", all.told());
    assert!(all.told().contains("no face was found in nobody.png"), "{}", all.told());
    assert_eq!(open(&photos.join("nobody.png")), open(&swapped.join("nobody.png")));
    for name in ["face.png", "other.png"] {
        assert_ne!(open(&photos.join(name)), open(&swapped.join(name)), "{name}");
        let target = format!("photos/{name}");
        let alone = Ran::from(&mut bench.swap(&["-s", text(&photo), "-t", &target, "-o", "alone.png"]));
        assert_eq!((&alone.done()["chunks_done"], &alone.done()["chunks_reused"]), (&0.into(), &1.into()), "{name}");
        assert!(open(&bench.path("alone.png")) == open(&swapped.join(name)), "{name}");
    }
}

#[test]
fn a_killed_run_goes_on_where_it_was() {
    let bench = Bench::new();
    let (photos, swapped) = (bench.path("photos"), bench.path("swapped"));
    fs::create_dir(&photos).unwrap();
    fs::create_dir(&swapped).unwrap();
    for number in 0..8 {
        picture(&photos.join(format!("{number}.png")), 1200 + number, 900);
    }
    let command = || {
        let mut command = bench.swap(&["-t", "photos", "-o", "swapped", "--workers", "1"]);
        command.args(PASS);
        command
    };
    let mut running = Running(command().stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap());
    let mut lines = BufReader::new(running.0.stdout.take().unwrap()).lines();
    let is_chunk = |line: &str| serde_json::from_str::<Value>(line).unwrap()["event"] == "chunk";
    assert!(lines.by_ref().any(|line| is_chunk(&line.unwrap())), "a chunk is done");
    run(Command::new("kill").args(["-KILL", &running.0.id().to_string()]));
    running.0.wait().unwrap();
    let resumed = Ran::from(&mut command());
    let done = resumed.done();
    assert!(done["chunks_reused"].as_u64() >= Some(1), "{done}");
    for number in 0..8 {
        let name = format!("{number}.png");
        assert_eq!(open(&photos.join(&name)), open(&swapped.join(&name)));
    }
}

#[test]
fn what_cannot_be_done_is_refused_with_its_reason() {
    let bench = Bench::new();
    photos(&bench);
    fs::create_dir(bench.path("empty")).unwrap();
    fs::create_dir(bench.path("broken")).unwrap();
    picture(&bench.path("broken/good.png"), 16, 16);
    let whole = fs::read(bench.path("photos/a.png")).unwrap();
    fs::write(bench.path("broken/cut.png"), &whole[..whole.len() / 2]).unwrap();
    std::os::unix::fs::symlink(bench.path("photos"), bench.path("same")).unwrap();
    let table: &[(&[&str], &str)] = &[
        (&["-t", "empty", "-o", "swapped"], "a folder without a still"),
        (&["-t", "broken", "-o", "swapped"], "target: cut.png: it is cut off"),
        (&["-t", "photos", "-o", "photos"], "the target itself"),
        (&["-t", "photos", "-o", "same/"], "the target itself"),
        (&["-t", "photos", "-o", "out.png"], "a folder that exists"),
        (&["-t", "photos", "-o", "nowhere/"], "a folder that exists"),
        (&["-t", "photos", "-o", "photos/a.png"], "not a folder"),
        (&["-t", "photos/a.png", "-o", "swapped"], "the target is a file"),
        (&["-t", "photos", "-o", "swapped", "--trim-start", "1s"], "stills have no times"),
    ];
    for (arguments, named) in table {
        let ran = Ran::from(bench.swap(arguments).args(PASS));
        assert_eq!(ran.exit, Some(3), "{arguments:?}: {}", ran.told());
        assert!(ran.told().contains(named), "{arguments:?} does not name {named}: {}", ran.told());
        assert_eq!(names_in(&bench.path("swapped")).len(), 0, "{arguments:?}");
    }
    let tolerant = Ran::from(bench.swap(&["-t", "broken", "-o", "swapped", "--tolerate-damage"]).args(PASS));
    assert_eq!(tolerant.done()["frames"], 1);
    assert!(tolerant.told().contains("left out, stills that cannot be read, or are too large: cut.png"));
    assert_eq!(names_in(&bench.path("swapped")), ["good.png"]);
}

#[test]
fn a_probe_tells_which_stills_there_are() {
    let bench = Bench::new();
    let (photos, _) = photos(&bench);
    let told = Ran::from(facemill().args(["probe", "--json", text(&photos)]));
    assert_eq!((told.exit, told.events.len()), (Some(0), 1), "{}", told.told());
    let report = &told.events[0];
    assert_eq!((&report["chunks"], report["warnings"].as_array().map(Vec::len)), (&4.into(), Some(3)), "{report}");
    let turned = &report["stills"][1];
    assert_eq!(
        (&turned["name"], &turned["width"], &turned["height"]),
        (&"b turned.jpg".into(), &40.into(), &80.into())
    );
    fs::write(photos.join("cut.png"), b"\x89PNG\r\n\x1a\n").unwrap();
    let refused = Ran::from(facemill().args(["probe", "--json", text(&photos)]));
    assert_eq!(refused.exit, Some(3), "{}", refused.told());
    assert!(refused.told().contains("cut.png"), "{}", refused.told());
}
