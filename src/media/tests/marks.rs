//! Marks in every format: read back by us and by ExifTool, beside what the source says, with pictures, sound and times as without them.

use std::path::{Path, PathBuf};

use image::{DynamicImage, ImageEncoder as _};

use super::harness::{Trip, chunks, ffprobe, frame_hashes, frame_times, join_marked, make, packets, run};
use super::pictures::{ICC, animation, lossless, moving_gif, oriented, read, sample, write};
use crate::contract::DigitalSourceType;
use crate::contract::Keep;
use crate::marks::{Aigc, Found, Marks};
use crate::media::{EncodeSettings, read_marks};

fn marks() -> Marks {
    let code = |text: &str| text.parse().unwrap();
    Marks {
        digital_source_type: DigitalSourceType::CompositeWithTrainedAlgorithmicMedia,
        aigc: Some(Aigc {
            producer: code("Studio&<Sons>"),
            produce_id: code("order-1042/1"),
            propagator: Some(code("001191440300")),
            propagate_id: None,
        }),
    }
}

/// What of these marks can be read.
fn found(marks: &Marks) -> Found {
    Found {
        digital_source_type: Some(marks.digital_source_type.to_string()),
        aigc: marks.aigc.as_ref().map(Aigc::json),
    }
}

/// What ExifTool tells of a file, `Group:Tag` with its value.
fn exiftool(path: &Path) -> serde_json::Map<String, serde_json::Value> {
    let printed = run("exiftool", &["-j", "-a", "-G1", "-s", path.to_str().unwrap()]);
    let mut files: Vec<serde_json::Map<_, _>> = serde_json::from_str(&printed).unwrap();
    files.remove(0)
}

/// What ExifTool tells of one group.
fn group(path: &Path, name: &str) -> Vec<(String, serde_json::Value)> {
    exiftool(path).into_iter().filter(|(tag, _)| tag.split(':').next() == Some(name)).collect()
}

/// The value of a tag that must be there.
fn told(path: &Path, tag: &str) -> String {
    match exiftool(path).get(tag) {
        Some(serde_json::Value::String(text)) => text.clone(),
        other => panic!("{path:?}: {tag} is {other:?}"),
    }
}

/// A source, joined without marks and with them.
fn both(source: &Path, extension: &str, trip: &Trip, marks: &Marks) -> (PathBuf, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let (clip, chunks) = chunks(source, dir.path(), trip).unwrap_or_else(|error| panic!("{source:?}: {error}"));
    let output = |name: &str, marks: Option<&Marks>| {
        let output = source.with_extension(format!("{name}.{extension}"));
        join_marked(source, (&clip, &chunks), &output, (&Keep::default(), marks))
            .unwrap_or_else(|error| panic!("{source:?}: {error}"));
        output
    };
    let (plain, marked) = (output("plain", None), output("marked", Some(marks)));
    assert_eq!(read_marks(&plain).unwrap(), Found::default(), "{plain:?}");
    assert_eq!(read_marks(&marked).unwrap(), found(marks), "{marked:?}");
    let warning = |path: &Path| exiftool(path).remove("ExifTool:Warning");
    assert_eq!(warning(&marked), warning(&plain), "{marked:?}");
    (plain, marked)
}

/// Tags of a container, without those of marks.
fn tags(path: &Path) -> Vec<String> {
    let line = ffprobe(path, "-show_entries format_tags").remove(0);
    let is_mark = |tag: &&str| ["tag:AIGC=", "tag:DIGITAL_SOURCE_TYPE="].iter().any(|mark| tag.starts_with(mark));
    line.split('|').filter(|tag| !is_mark(tag)).map(str::to_owned).collect()
}

/// Everything that is not marks is as it is without them.
fn assert_same_clip(plain: &Path, marked: &Path) {
    for stream in ["v:0", "a:0", "s:0"] {
        assert_eq!(packets(plain, stream), packets(marked, stream), "{marked:?}: {stream}");
    }
    assert_eq!(frame_hashes(plain, "null"), frame_hashes(marked, "null"), "{marked:?}");
    assert_eq!(frame_times(plain), frame_times(marked), "{marked:?}");
    assert_eq!(tags(plain), tags(marked), "{marked:?}");
    let chapters = "-show_chapters -show_entries chapter=start_time,end_time:chapter_tags=title";
    assert_eq!(ffprobe(plain, chapters), ffprobe(marked, chapters), "{marked:?}");
}

const FILM: &str = "-f lavfi -i testsrc2=s=160x96:r=25:d=2 -f lavfi -i sine=f=440:r=48000:d=2 -f ffmetadata -i {dir}/film.txt \
                    -map_metadata 2 -c:v libx264 -preset veryfast -pix_fmt yuv420p -c:a aac";

/// A film with chapters and these lines of metadata.
fn film(dir: &Path, name: &str, metadata: &str) -> PathBuf {
    let chapters = "[CHAPTER]\nTIMEBASE=1/1000\nSTART=0\nEND=1000\ntitle=One\n\
                    [CHAPTER]\nTIMEBASE=1/1000\nSTART=1000\nEND=2000\ntitle=Two\n";
    std::fs::write(dir.join("film.txt"), format!(";FFMETADATA1\n{metadata}{chapters}")).unwrap();
    make(dir, name, FILM)
}

#[test]
fn clips_say_how_and_by_whom_they_were_made() {
    crate::media::init();
    let dir = tempfile::tempdir().unwrap();
    let marks = marks();
    let uri = marks.digital_source_type.to_string();
    let label = marks.aigc.as_ref().unwrap().json();
    for (name, metadata, own) in [
        ("tagged", "title=Tricky\ncomment=a note\nkeywords=one,two\n", 3),
        ("titled", "title=Tricky\nartist=Somebody\n", 2),
        ("silent", "", 0),
    ] {
        let source = film(dir.path(), &format!("{name}.mkv"), metadata);
        for (extension, label_tag, source_type_tag) in [
            ("mp4", "Keys:AIGC", "XMP-iptcExt:DigitalSourceType"),
            ("mov", "Keys:AIGC", "XMP-iptcExt:DigitalSourceType"),
            ("mkv", "Matroska:Aigc", "Matroska:DigitalSourceType"),
        ] {
            let (plain, marked) = both(&source, extension, &Trip::default(), &marks);
            assert_same_clip(&plain, &marked);
            assert_eq!(told(&marked, label_tag), label, "{marked:?}");
            assert_eq!(told(&marked, source_type_tag), uri, "{marked:?}");
            if extension == "mp4" {
                let itunes = group(&marked, "ItemList");
                assert_eq!((itunes.len(), &itunes), (own, &group(&plain, "ItemList")), "{name}: iTunes' tags stay");
                let at = |path: &Path, name: &[u8]| {
                    let bytes = std::fs::read(path).unwrap();
                    (bytes.windows(4).position(|found| found == name).unwrap(), bytes.len())
                };
                let ((moov, _), (data, _)) = (at(&marked, b"moov"), at(&marked, b"mdat"));
                assert!(moov < data, "{name}: the index stays in front");
            }
        }
    }
}

#[test]
fn a_clip_for_browsers_is_marked_too() {
    crate::media::init();
    let dir = tempfile::tempdir().unwrap();
    let source = film(dir.path(), "film.mkv", "title=Tricky\n");
    let encoder = "libsvtav1".to_owned();
    let settings = EncodeSettings { encoder, preset: "ultrafast".to_owned(), crf: 40, hdr: None, threads: 2 };
    let marks = marks();
    let (plain, marked) = both(&source, "webm", &Trip { settings, ..Trip::default() }, &marks);
    assert_same_clip(&plain, &marked);
    assert_eq!(told(&marked, "Matroska:Aigc"), marks.aigc.as_ref().unwrap().json());
    assert_eq!(told(&marked, "Matroska:DigitalSourceType"), marks.digital_source_type.to_string());
}

#[test]
fn without_a_producer_only_the_source_type_is_told() {
    crate::media::init();
    let dir = tempfile::tempdir().unwrap();
    let source = film(dir.path(), "film.mkv", "title=Tricky\nkeywords=one\n");
    let marks = Marks { digital_source_type: DigitalSourceType::Composite, aigc: None };
    for extension in ["mp4", "mov", "mkv"] {
        let (plain, marked) = both(&source, extension, &Trip::default(), &marks);
        assert_same_clip(&plain, &marked);
    }
}

#[test]
fn what_the_source_said_is_replaced() {
    crate::media::init();
    let dir = tempfile::tempdir().unwrap();
    let said = "title=Tricky\nAIGC={\"Label\":\"2\"}\nDIGITAL_SOURCE_TYPE=theirs\nxmp=theirs\n";
    let source = film(dir.path(), "film.mkv", said);
    let theirs = Found { digital_source_type: Some("theirs".into()), aigc: Some("{\"Label\":\"2\"}".into()) };
    assert_eq!(read_marks(&source).unwrap(), theirs);
    let work = tempfile::tempdir().unwrap();
    let (clip, chunks) = chunks(&source, work.path(), &Trip::default()).unwrap();
    for extension in ["mp4", "mov", "mkv"] {
        let output = dir.path().join(format!("out.{extension}"));
        join_marked(&source, (&clip, &chunks), &output, (&Keep::default(), Some(&marks()))).unwrap();
        assert_eq!(read_marks(&output).unwrap(), found(&marks()), "{extension}");
        assert!(tags(&output).contains(&"tag:title=Tricky".to_owned()), "{extension}");
    }
}

/// Stills and animations of every format, each as it is written by this trip.
fn pictures(dir: &Path) -> Vec<(PathBuf, &'static str)> {
    let named = |name: &str| dir.join(name);
    write(&named("colour.png"), &sample(image::ColorType::Rgba8, 64, 40), Some(ICC));
    write(&named("grey.tiff"), &sample(image::ColorType::L16, 33, 21), Some(ICC));
    write(&named("colour.tiff"), &sample(image::ColorType::Rgb8, 64, 40), None);
    write(&named("plain.webp"), &sample(image::ColorType::Rgb8, 64, 40), None);
    write(&named("plain.jpg"), &sample(image::ColorType::Rgb8, 64, 40), None);
    let mut encoder = image::codecs::jpeg::JpegEncoder::new(std::fs::File::create(named("photo.jpg")).unwrap());
    encoder.set_exif_metadata(oriented(6)).unwrap();
    encoder.set_icc_profile(ICC.to_vec()).unwrap();
    let photo = DynamicImage::from(sample(image::ColorType::Rgb8, 64, 40).to_rgb8());
    photo.write_with_encoder(encoder).unwrap();
    moving_gif(&named("moving.gif"), gif::Repeat::Infinite);
    let all = [
        ("colour.png", "png"),
        ("grey.tiff", "tiff"),
        ("colour.tiff", "tiff"),
        ("plain.webp", "webp"),
        ("plain.jpg", "jpg"),
        ("photo.jpg", "jpg"),
        ("photo.jpg", "webp"),
        ("photo.jpg", "png"),
        ("photo.jpg", "avif"),
        ("colour.png", "avif"),
        ("moving.gif", "gif"),
        ("moving.gif", "png"),
        ("moving.gif", "webp"),
    ];
    all.into_iter().map(|(name, extension)| (named(name), extension)).collect()
}

#[test]
fn pictures_say_how_and_by_whom_they_were_made() {
    crate::media::init();
    let dir = tempfile::tempdir().unwrap();
    let marks = marks();
    for (source, extension) in pictures(dir.path()) {
        let (plain, marked) = both(&source, extension, &lossless(8), &marks);
        let moves = source.ends_with("moving.gif");
        match extension {
            "avif" => assert_eq!(frame_hashes(&plain, "null"), frame_hashes(&marked, "null"), "{marked:?}"),
            _ if moves => assert!(animation(&plain) == animation(&marked), "{marked:?}"),
            _ => assert!(read(&plain) == read(&marked), "{marked:?}"),
        }
        assert_eq!(told(&marked, "XMP-TC260:Aigc"), marks.aigc.as_ref().unwrap().json(), "{marked:?}");
        let uri = marks.digital_source_type.to_string();
        assert_eq!(told(&marked, "XMP-iptcExt:DigitalSourceType"), uri, "{marked:?}");
        for kept in ["IFD0", "ICC_Profile", "ICC-header", "JFIF", "PNG", "GIF", "Meta"] {
            let places = |(tag, _): &(String, serde_json::Value)| !tag.contains("Strip") && !tag.contains("Offset");
            let of = |path: &Path| group(path, kept).into_iter().filter(places).collect::<Vec<_>>();
            assert_eq!(of(&plain), of(&marked), "{marked:?}");
        }
    }
}

#[test]
fn what_lies_behind_a_piece_is_what_is_written_without_it() {
    crate::media::init();
    let dir = tempfile::tempdir().unwrap();
    let spliced = |(_, extension): &(PathBuf, &str)| ["png", "jpg", "gif"].contains(extension);
    for (source, extension) in pictures(dir.path()).into_iter().filter(spliced) {
        let (plain, marked) = both(&source, extension, &lossless(8), &marks());
        let (plain, marked) = (std::fs::read(plain).unwrap(), std::fs::read(marked).unwrap());
        let same = plain.iter().zip(&marked).take_while(|(a, b)| a == b).count();
        assert!(plain[same..] == marked[marked.len() - (plain.len() - same)..], "{source:?} as {extension}");
    }
}

#[test]
fn whatever_a_file_holds_is_an_answer() {
    crate::media::init();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("damaged");
    let mut files: Vec<(PathBuf, &str, Trip)> = Vec::new();
    for (source, extension) in pictures(dir.path()) {
        files.push((source, extension, lossless(8)));
    }
    let source = film(dir.path(), "film.mkv", "title=Tricky\n");
    ["mp4", "mov", "mkv"].into_iter().for_each(|kind| files.push((source.clone(), kind, Trip::default())));
    for (source, extension, trip) in files {
        let bytes = std::fs::read(both(&source, extension, &trip, &marks()).1).unwrap();
        let step = bytes.len() / 40 + 1;
        for place in (0..bytes.len()).step_by(step).chain([1, 5, 9, 13, 21, 33]) {
            std::fs::write(&path, &bytes[..place]).unwrap();
            let _cut_off = read_marks(&path);
            let mut changed = bytes.clone();
            changed[place] ^= 0xFF;
            std::fs::write(&path, &changed).unwrap();
            let _damaged = read_marks(&path);
        }
    }
    std::fs::write(&path, "no media").unwrap();
    assert_eq!(read_marks(&path).unwrap(), Found::default());
    assert!(read_marks(&dir.path().join("nowhere")).is_err());
}
