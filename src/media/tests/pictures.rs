//! Pictures through the whole path: what comes out is what went in.

use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};

use image::codecs::gif::GifDecoder;
use image::codecs::png::PngDecoder;
use image::codecs::webp::WebPDecoder;
use image::metadata::LoopCount;
use image::{AnimationDecoder, DynamicImage, ImageDecoder, ImageReader, RgbaImage};

use super::harness::{self, Trip, frame_times, make};
use crate::contract::{Keep, LOSSLESS};
use crate::media::{EncodeSettings, Limits, MediaError, probe};

pub(super) fn lossless(chunk: usize) -> Trip {
    let settings =
        EncodeSettings { encoder: LOSSLESS.to_owned(), preset: String::new(), crf: 0, hdr: None, threads: 2 };
    Trip { chunk, settings, footer: 777, ..Trip::default() }
}

fn round_trip(source: &Path, extension: &str, chunk: usize) -> PathBuf {
    harness::round_trip(source, extension, &lossless(chunk)).0
}

/// Something of every value, with structure, and with alpha that is 0, 255 and between.
pub(super) fn sample(color: image::ColorType, width: u32, height: u32) -> DynamicImage {
    let noise = |x: u32, y: u32, k: u32| (x * 7 + y * 13 + k * 61 + x * y / 3) % 256;
    let rgba = RgbaImage::from_fn(width, height, |x, y| {
        let alpha = [255, 255, 0, 100][((x / 4 + y / 4) % 4) as usize];
        image::Rgba([noise(x, y, 0) as u8, noise(x, y, 1) as u8, noise(x, y, 2) as u8, alpha])
    });
    let picture = DynamicImage::from(rgba);
    let wide = || {
        let mut wide = picture.to_rgba16();
        wide.iter_mut().zip(0_u32..).for_each(|(sample, n)| *sample = sample.wrapping_add((n * 31 % 251) as u16));
        DynamicImage::from(wide)
    };
    match color {
        image::ColorType::L8 => picture.to_luma8().into(),
        image::ColorType::La8 => picture.to_luma_alpha8().into(),
        image::ColorType::Rgb8 => picture.to_rgb8().into(),
        image::ColorType::Rgba8 => picture,
        image::ColorType::L16 => wide().to_luma16().into(),
        image::ColorType::Rgb16 => wide().to_rgb16().into(),
        image::ColorType::Rgba16 => wide(),
        other => panic!("{other:?}"),
    }
}

/// Pixels and ICC profile.
pub(super) fn read(path: &Path) -> (DynamicImage, Option<Vec<u8>>) {
    let mut decoder = ImageReader::open(path).unwrap().with_guessed_format().unwrap().into_decoder().unwrap();
    let mut icc = decoder.icc_profile().unwrap();
    if path.extension().is_some_and(|extension| extension == "tiff") {
        let mut decoder = tiff::decoder::Decoder::new(BufReader::new(File::open(path).unwrap())).unwrap();
        icc = decoder.get_tag_u8_vec(tiff::tags::Tag::IccProfile).ok();
    }
    (DynamicImage::from_decoder(decoder).unwrap_or_else(|error| panic!("{path:?}: {error}")), icc)
}

pub(super) fn write(path: &Path, picture: &DynamicImage, icc: Option<&[u8]>) {
    use image::ImageEncoder;
    let out = std::io::BufWriter::new(File::create(path).unwrap());
    let profile = icc.unwrap_or_default().to_vec();
    match path.extension().unwrap().to_str().unwrap() {
        "png" => {
            let mut encoder = image::codecs::png::PngEncoder::new(out);
            encoder.set_icc_profile(profile).unwrap();
            picture.write_with_encoder(encoder).unwrap();
        }
        "tiff" => {
            let mut encoder = image::codecs::tiff::TiffEncoder::new(out);
            if icc.is_some() {
                encoder.set_icc_profile(profile).unwrap();
            }
            picture.write_with_encoder(encoder).unwrap();
        }
        "webp" => {
            let mut encoder = image::codecs::webp::WebPEncoder::new_lossless(out);
            if icc.is_some() {
                encoder.set_icc_profile(profile).unwrap();
            }
            picture.write_with_encoder(encoder).unwrap();
        }
        "jpg" => {
            let mut encoder = image::codecs::jpeg::JpegEncoder::new_with_quality(out, 90);
            if icc.is_some() {
                encoder.set_icc_profile(profile).unwrap();
            }
            picture.write_with_encoder(encoder).unwrap();
        }
        other => panic!("{other}"),
    }
}

pub(super) const ICC: &[u8] = &[7; 3000];

#[test]
fn stills_that_lose_nothing_come_out_bit_by_bit() {
    use image::ColorType::{L8, L16, La8, Rgb8, Rgb16, Rgba8, Rgba16};
    crate::media::init();
    let dir = tempfile::tempdir().unwrap();
    for (extension, colors) in [
        ("png", &[L8, La8, Rgb8, Rgba8, L16, Rgb16, Rgba16][..]),
        ("tiff", &[L8, Rgb8, Rgba8, L16, Rgb16, Rgba16]),
        ("webp", &[Rgb8, Rgba8]),
    ] {
        for &color in colors {
            for (width, height) in [(2, 2), (37, 23), (500, 301)] {
                let source = dir.path().join(format!("{color:?}-{width}.{extension}"));
                write(&source, &sample(color, width, height), Some(ICC));
                let before = read(&source);
                assert_eq!(before.1.as_deref(), Some(ICC), "{source:?}");
                let after = read(&round_trip(&source, extension, 16));
                assert_same(&before.0, &after.0, &source);
                assert!(before.1 == after.1, "{source:?}: {:?} bytes of ICC", after.1.map(|icc| icc.len()));
            }
        }
    }
}

#[test]
fn large_stills_come_out_bit_by_bit() {
    use image::ColorType::{L8, L16, Rgb8, Rgb16, Rgba8, Rgba16};
    crate::media::init();
    let dir = tempfile::tempdir().unwrap();
    for color in [L8, Rgb8, Rgba8, L16, Rgb16, Rgba16] {
        let source = dir.path().join(format!("{color:?}.tiff"));
        write(&source, &sample(color, 2401, 1503), None);
        assert_same(&read(&source).0, &read(&round_trip(&source, "tiff", 16)).0, &source);
    }
}

#[test]
fn what_the_operator_allows_is_allowed_to_the_end() {
    crate::media::init();
    let dir = tempfile::tempdir().unwrap();
    let source = dir.path().join("wide.png");
    write(&source, &sample(image::ColorType::Rgb8, Limits::default().max_width + 8, 16), None);
    let trip = Trip { limits: Limits { max_width: 10_000, ..Limits::default() }, ..lossless(16) };
    let output = harness::round_trip(&source, "png", &trip).0;
    assert_same(&read(&source).0, &read(&output).0, &source);
}

#[test]
fn stills_become_other_stills() {
    crate::media::init();
    let dir = tempfile::tempdir().unwrap();
    let source = dir.path().join("a.png");
    let picture = sample(image::ColorType::Rgba8, 120, 80);
    write(&source, &picture, Some(ICC));
    for extension in ["tiff", "webp", "apng"] {
        let (after, icc) = read(&round_trip(&source, extension, 16));
        assert_same(&picture, &after, &extension);
        assert!(icc.as_deref() == Some(ICC), "{extension}: {:?} bytes of ICC", icc.map(|icc| icc.len()));
    }
    let (jpeg, icc) = read(&round_trip(&source, "jpg", 16));
    assert_eq!(
        (jpeg.color(), icc.as_deref()),
        (image::ColorType::Rgb8, Some(ICC)),
        "what is transparent lies on white"
    );
    assert!(
        jpeg.to_rgb8().get_pixel(9, 1).0.iter().all(|sample| *sample > 200),
        "{:?}",
        jpeg.to_rgb8().get_pixel(9, 1)
    );
}

#[test]
fn jpegs_stay_near() {
    crate::media::init();
    let dir = tempfile::tempdir().unwrap();
    let smooth = image::RgbImage::from_fn(200, 133, |x, y| image::Rgb([x as u8, y as u8 + 50, ((x + y) / 2) as u8]));
    for (name, picture) in
        [("rgb.jpg", DynamicImage::from(smooth.clone())), ("grey.jpg", DynamicImage::from(smooth).to_luma8().into())]
    {
        let source = dir.path().join(name);
        write(&source, &picture, Some(ICC));
        let (before, icc) = read(&source);
        for extension in ["jpg", "webp"] {
            let (after, icc_after) = read(&round_trip(&source, extension, 16));
            assert_eq!(icc_after, icc, "{name} {extension}");
            let after = if before.color().has_color() { after } else { after.to_luma8().into() };
            assert_eq!(
                (before.width(), before.height(), before.color()),
                (after.width(), after.height(), after.color())
            );
            let worst = before.as_bytes().iter().zip(after.as_bytes()).map(|(a, b)| a.abs_diff(*b)).max().unwrap();
            assert!(worst <= 12, "{name} {extension}: {worst}");
        }
    }
}

/// The same, or in which sample they first differ.
fn assert_same(before: &DynamicImage, after: &DynamicImage, name: &dyn std::fmt::Debug) {
    let facts = |picture: &DynamicImage| (picture.width(), picture.height(), picture.color());
    assert_eq!(facts(before), facts(after), "{name:?}");
    let samples = || before.as_bytes().iter().zip(after.as_bytes());
    let first = samples().position(|(a, b)| a != b);
    assert_eq!(first.and_then(|first| samples().nth(first).map(|found| (first, found))), None, "{name:?}");
}

/// An EXIF block that says nothing but the orientation.
pub(super) fn oriented(orientation: u8) -> Vec<u8> {
    let mut exif = b"MM\0\x2A\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0".to_vec();
    exif.extend([orientation, 0, 0, 0, 0, 0, 0]);
    exif
}

#[test]
fn pictures_come_out_upright() {
    use image::ImageEncoder;
    crate::media::init();
    let dir = tempfile::tempdir().unwrap();
    let picture = sample(image::ColorType::Rgb8, 30, 20);
    for orientation in 1..=8 {
        let source = dir.path().join(format!("{orientation}.png"));
        let mut encoder = image::codecs::png::PngEncoder::new(File::create(&source).unwrap());
        encoder.set_exif_metadata(oriented(orientation)).unwrap();
        picture.write_with_encoder(encoder).unwrap();
        let mut upright = picture.clone();
        upright.apply_orientation(image::metadata::Orientation::from_exif(orientation).unwrap());
        let output = round_trip(&source, "png", 16);
        assert!(read(&output).0 == upright, "{orientation}");
        let mut decoder = PngDecoder::new(BufReader::new(File::open(&output).unwrap())).unwrap();
        assert_eq!(decoder.exif_metadata().unwrap(), Some(oriented(1)), "the rest is kept, and nothing turns it again");
        let clip = probe(&source, &Keep::default(), &Limits::default()).unwrap().clip;
        assert_eq!((clip.width, clip.height), if orientation > 4 { (20, 30) } else { (30, 20) });
    }
}

/// Composed frames, delays in milliseconds (a fraction), repetitions.
pub(super) fn animation(path: &Path) -> (Vec<RgbaImage>, Vec<(u32, u32)>, u32) {
    let reader = || BufReader::new(File::open(path).unwrap());
    let (plays, frames) = match path.extension().unwrap().to_str().unwrap() {
        "gif" => {
            let decoder = GifDecoder::new(reader()).unwrap();
            (decoder.loop_count(), decoder.into_frames().collect_frames())
        }
        "png" | "apng" => {
            let decoder = PngDecoder::new(reader()).unwrap().apng().unwrap();
            (decoder.loop_count(), decoder.into_frames().collect_frames())
        }
        _ => {
            let mut decoder = WebPDecoder::new(reader()).unwrap();
            decoder.set_background_color(image::Rgba([0; 4])).unwrap();
            (decoder.loop_count(), decoder.into_frames().collect_frames())
        }
    };
    let frames = frames.unwrap_or_else(|error| panic!("{path:?}: {error}"));
    let delays = frames.iter().map(|frame| frame.delay().numer_denom_ms()).collect();
    let plays = match plays {
        LoopCount::Infinite => 0,
        LoopCount::Finite(plays) => plays.get(),
    };
    (frames.into_iter().map(image::Frame::into_buffer).collect(), delays, plays)
}

/// What is seen: the colour of a pixel that is not shown does not matter.
fn seen(frames: Vec<RgbaImage>) -> Vec<RgbaImage> {
    let blank = |mut frame: RgbaImage| {
        frame.pixels_mut().filter(|pixel| pixel.0[3] == 0).for_each(|pixel| pixel.0 = [0; 4]);
        frame
    };
    frames.into_iter().map(blank).collect()
}

/// Something that moves over what is partly transparent, comes and goes; uneven delays.
pub(super) fn moving_gif(path: &Path, repeat: gif::Repeat) {
    moving_gif_of(path, repeat, u32::from);
}

/// `palette`: which one each frame has.
fn moving_gif_of(path: &Path, repeat: gif::Repeat, palette: impl Fn(u16) -> u32) {
    let mut encoder = gif::Encoder::new(File::create(path).unwrap(), 60, 40, &[]).unwrap();
    encoder.set_repeat(repeat).unwrap();
    let disposals = [gif::DisposalMethod::Keep, gif::DisposalMethod::Background, gif::DisposalMethod::Previous];
    for number in 0..20_u16 {
        let (left, top) = if number == 0 { (0, 0) } else { (number * 2, number) };
        let (width, height) = if number == 0 { (50, 40) } else { (12, 9) };
        let palette: Vec<u8> = (0..200_u32).flat_map(|n| [n as u8, (n * (palette(number) + 3)) as u8, 90]).collect();
        let buffer: Vec<u8> = (0..u32::from(width * height)).map(|n| ((n * 3 + n / 60) % 200) as u8).collect();
        let frame = gif::Frame {
            delay: [4, 10, 0, 7, 1][usize::from(number % 5)],
            dispose: disposals[usize::from(number % 3)],
            transparent: Some(17),
            left,
            top,
            width,
            height,
            palette: Some(palette),
            buffer: buffer.into(),
            ..gif::Frame::default()
        };
        encoder.write_frame(&frame).unwrap();
    }
}

#[test]
fn animations_stay_what_they_are() {
    crate::media::init();
    let dir = tempfile::tempdir().unwrap();
    for (name, repeat) in
        [("once", gif::Repeat::Finite(0)), ("thrice", gif::Repeat::Finite(2)), ("ever", gif::Repeat::Infinite)]
    {
        let source = dir.path().join(format!("{name}.gif"));
        moving_gif(&source, repeat);
        let (frames, delays, plays) = animation(&source);
        assert_eq!(frames.len(), 20);
        let frames = seen(frames);
        for chunk in [7, 64] {
            let output = round_trip(&source, "gif", chunk);
            let after = animation(&output);
            assert_eq!((&after.1, after.2), (&delays, plays), "{name} in chunks of {chunk}");
            let differs = seen(after.0).iter().zip(&frames).position(|(after, before)| after != before);
            assert_eq!(differs, None, "{name} in chunks of {chunk}");
            let repeat_after = gif::Decoder::new(File::open(&output).unwrap()).map(|decoder| decoder.repeat()).unwrap();
            assert_eq!(repeat_after, repeat, "{name}");
        }
        for extension in ["png", "webp"] {
            let other = round_trip(&source, extension, 8);
            let after = animation(&other);
            assert!((&seen(after.0.clone()), &after.1) == (&frames, &delays), "{name} as {extension}");
            // And back again through itself.
            let same = animation(&round_trip(&other, extension, 5));
            assert!(same == after, "{name} through {extension}");
        }
    }
}

#[test]
fn a_trimmed_animation_keeps_the_delays_of_its_frames() {
    crate::media::init();
    let dir = tempfile::tempdir().unwrap();
    let source = dir.path().join("a.gif");
    // Of one palette: the first frame that is kept shows pixels of all those before.
    moving_gif_of(&source, gif::Repeat::Infinite, |_| 7);
    let (frames, delays, _) = animation(&source);
    let keep = Keep { start: "3".parse().ok(), end: "15".parse().ok(), limit: None };
    let (output, _) = harness::round_trip(&source, "gif", &Trip { keep, ..lossless(4) });
    let after = animation(&output);
    assert_eq!(after.1, delays[3..15]);
    assert!(seen(after.0) == seen(frames)[3..15]);
}

#[test]
fn an_animation_becomes_a_clip() {
    let dir = tempfile::tempdir().unwrap();
    let source = dir.path().join("a.gif");
    crate::media::init();
    moving_gif(&source, gif::Repeat::Infinite);
    for extension in ["mp4", "mkv"] {
        let (output, joined) =
            harness::round_trip(&source, extension, &Trip { chunk: 6, footer: 900, ..Trip::default() });
        assert_eq!(joined.others, []);
        // Delays of 4, 10, 0, 7 and 1 hundredths; what is too short is shown for 10.
        let times = frame_times(&output);
        let expected = [0.0, 0.04, 0.14, 0.24, 0.31, 0.41, 0.45];
        assert!(times.iter().zip(expected).all(|(a, b)| (a - b).abs() < 0.002), "{extension}: {times:?}");
        assert_eq!(times.len(), 20);
        let stream =
            harness::ffprobe(&output, "-select_streams v -show_entries stream=pix_fmt,color_range,color_space");
        assert_eq!(stream, ["stream|pix_fmt=yuv420p|color_range=tv|color_space=bt709"], "{extension}");
        let tags = harness::ffprobe(&output, "-show_entries format_tags=TICK,PICTURE,tick,picture");
        assert_eq!(tags, ["format|"], "{extension}");
    }
}

#[test]
fn pictures_that_cannot_be_are_refused() {
    crate::media::init();
    let dir = tempfile::tempdir().unwrap();
    let refusal = |name: &str, bytes: &[u8], limits: &Limits| {
        let path = dir.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        probe(&path, &Keep::default(), limits).err().unwrap_or_else(|| panic!("{name} is accepted"))
    };
    let limits = Limits::default();
    // Heads that promise 60,000 by 60,000 pixels.
    let mut png = b"\x89PNG\r\n\x1a\n\0\0\0\x0DIHDR\0\0\xEA\x60\0\0\xEA\x60\x08\x02\0\0\0".to_vec();
    png.extend(crc(&png[12..]).to_be_bytes());
    png.extend(b"\0\0\0\0IDAT");
    png.extend(crc(b"IDAT").to_be_bytes());
    let found = refusal("bomb.png", &png, &limits);
    assert!(matches!(found, MediaError::OverLimit { what: "width", found: 60_000, limit: 8192 }), "{found}");
    let gif = b"GIF89a\x60\xEA\x60\xEA\0\0\0,\0\0\0\0\x01\0\x01\0\0\x02\x02D\x01\0;";
    let found = refusal("bomb.gif", gif, &limits);
    assert!(matches!(found, MediaError::OverLimit { what: "width", found: 60_000, limit: 8192 }), "{found}");

    let moving = dir.path().join("moving.gif");
    moving_gif(&moving, gif::Repeat::Infinite);
    let bytes = std::fs::read(&moving).unwrap();
    let found = refusal("long.gif", &bytes, &Limits { max_frames: 19, ..limits });
    assert!(matches!(found, MediaError::OverLimit { what: "number of frames", found: 20, limit: 19 }), "{found}");
    let found = refusal("hours.gif", &bytes, &Limits { max_seconds: 0, ..limits });
    assert!(matches!(found, MediaError::OverLimit { what: "length in seconds", .. }), "{found}");

    let still = dir.path().join("still.png");
    write(&still, &sample(image::ColorType::Rgb8, 50, 50), None);
    let bytes = std::fs::read(&still).unwrap();
    let found = refusal("half.png", &bytes[..bytes.len() / 2], &limits);
    assert!(matches!(found, MediaError::Truncated { .. }), "{found}");
    for (name, bytes) in [
        ("head.jpg", &b"\xFF\xD8\xFF\xE0"[..]),
        ("head.tiff", b"II*\0\x08\0\0\0"),
        ("head.webp", b"RIFF\x04\0\0\0WEBP"),
    ] {
        let found = refusal(name, bytes, &limits);
        assert!(matches!(found, MediaError::Picture { .. } | MediaError::Truncated { .. }), "{name}: {found}");
    }
    let line = dir.path().join("line.png");
    write(&line, &sample(image::ColorType::Rgb8, 1, 50), None);
    let found = probe(&line, &Keep::default(), &limits).unwrap_err();
    assert!(matches!(found, MediaError::UnsupportedCodec { .. }), "{found}");
    let wide = make(dir.path(), "wide.png", "-f lavfi -i testsrc2=s=16x16:d=0.04 -frames:v 1 -pix_fmt rgb48be");
    assert_eq!(probe(&wide, &Keep::default(), &limits).unwrap().clip.pixel_format, "rgb48le");
}

/// ISO 3309, as PNG wants it.
fn crc(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| if crc & 1 == 1 { (crc >> 1) ^ 0xEDB8_8320 } else { crc >> 1 })
    })
}
