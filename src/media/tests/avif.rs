//! AVIF through the whole path. `avif/` holds stills of libavif 0.11.1 (`avifenc --min 0 --max 8`), named after what they have: 48×32 pixels of
//! [`expected`] (`grid`: 128×128), turned and cut by their boxes.

use std::path::{Path, PathBuf};

use image::{ColorType, DynamicImage, Rgba, RgbaImage};

use super::harness::{self, ffprobe};
use super::pictures::{ICC, lossless, oriented, read, write};
use crate::contract::Keep;
use crate::media::{Limits, MediaError, probe};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src/media/tests/avif").join(name).with_extension("avif")
}

/// A fixture's pixels as they were given to its encoder.
fn expected() -> RgbaImage {
    RgbaImage::from_fn(48, 32, |x, y| Rgba([5 * x, 7 * y, 3 * (x + y), 5 * x].map(|sample| sample as u8)))
}

fn round_trip(source: &Path, extension: &str) -> PathBuf {
    harness::round_trip(source, extension, &lossless(16)).0
}

/// A fixture beside which outputs can lie.
fn copied(dir: &tempfile::TempDir, name: &str) -> PathBuf {
    let path = dir.path().join(name).with_extension("avif");
    std::fs::copy(fixture(name), &path).unwrap();
    path
}

/// The largest difference of two samples, on the scale of 8 bits; of colours only where they are seen.
fn worst(a: &DynamicImage, b: &DynamicImage) -> f32 {
    assert_eq!((a.width(), a.height()), (b.width(), b.height()));
    let (a, b) = (a.to_rgba16(), b.to_rgba16());
    let differences = a.pixels().zip(b.pixels()).flat_map(|(a, b)| {
        let seen = a.0[3] > 65_535 / 4;
        (0..4).filter(move |&channel| seen || channel == 3).map(|channel| a.0[channel].abs_diff(b.0[channel]))
    });
    f32::from(differences.max().unwrap()) / 257.0
}

#[test]
fn stills_of_another_encoder_are_read() {
    use ColorType::{L8, L16, Rgb8, Rgb16, Rgba8, Rgba16};
    crate::media::init();
    let dir = tempfile::tempdir().unwrap();
    let opaque: DynamicImage = DynamicImage::from(expected()).to_rgb8().into();
    let grey: DynamicImage = image::GrayImage::from_fn(48, 32, |x, y| image::Luma([(3 * (x + y)) as u8])).into();
    let tiled: DynamicImage =
        image::RgbImage::from_fn(128, 128, |x, y| image::Rgb([2 * x, 2 * y, 255 - x].map(|s| s as u8))).into();
    let same = |picture: &DynamicImage| picture.clone();
    type Change<'a> = &'a dyn Fn(&DynamicImage) -> DynamicImage;
    let cases: [(&str, &DynamicImage, Change<'_>, ColorType, f32); 20] = [
        ("420", &opaque, &same, Rgb8, 6.0),
        ("422-limited", &opaque, &same, Rgb8, 6.0),
        ("10-bit", &opaque, &same, Rgb16, 5.0),
        ("12-bit", &opaque, &same, Rgb16, 3.0),
        ("identity", &opaque, &same, Rgb8, 0.0),
        ("p3", &opaque, &same, Rgb8, 3.0),
        ("grey", &grey, &same, L8, 2.0),
        ("grey-10", &grey, &same, L16, 2.0),
        ("alpha", &expected().into(), &same, Rgba8, 4.0),
        ("alpha-10", &expected().into(), &same, Rgba16, 4.0),
        ("premultiplied", &expected().into(), &same, Rgba8, 12.0),
        ("grid", &tiled, &same, Rgb8, 6.0),
        ("cropped", &opaque, &|p| p.crop_imm(4, 2, 40, 20), Rgb8, 4.0),
        ("irot-1", &opaque, &|p| p.rotate270(), Rgb8, 6.0),
        ("irot-2", &opaque, &|p| p.rotate180(), Rgb8, 6.0),
        ("irot-3", &opaque, &|p| p.rotate90(), Rgb8, 6.0),
        ("imir-0", &opaque, &|p| p.flipv(), Rgb8, 6.0),
        ("imir-1", &opaque, &|p| p.fliph(), Rgb8, 6.0),
        ("irot-1-imir-0", &opaque, &|p| p.rotate270().flipv(), Rgb8, 6.0),
        ("irot-1-imir-1", &opaque, &|p| p.rotate270().fliph(), Rgb8, 6.0),
    ];
    for (name, picture, change, color, most) in cases {
        let wanted = change(picture);
        let clip = probe(&fixture(name), &Keep::default(), &Limits::default()).unwrap().clip;
        assert_eq!((&clip.format[..], clip.width, clip.height), ("avif", wanted.width(), wanted.height()), "{name}");
        let (found, _) = read(&round_trip(&copied(&dir, name), "png"));
        assert_eq!(found.color(), color, "{name}");
        let far = worst(&wanted, &found);
        assert!(far <= most, "{name}: {far}");
        // And as it came, but for a second coding.
        let again = round_trip(&copied(&dir, name), "avif");
        let (second, _) = read(&round_trip(&again, "png"));
        assert_eq!(second.color(), color, "{name}");
        let far = worst(&found, &second);
        assert!(far <= most.max(6.0), "{name} again: {far}");
    }
}

#[test]
fn other_stills_become_avif() {
    use ColorType::{L8, L16, La8, Rgb8, Rgb16, Rgba8, Rgba16};
    crate::media::init();
    let dir = tempfile::tempdir().unwrap();
    for (color, extension, pixels) in [
        (L8, "png", "gray"),
        (La8, "png", "gray"),
        (Rgb8, "jpg", "yuv444p"),
        (Rgb8, "webp", "yuv444p"),
        (Rgba8, "png", "yuv444p"),
        (L16, "tiff", "gray12le"),
        (Rgb16, "png", "yuv444p12le"),
        (Rgba16, "tiff", "yuv444p12le"),
    ] {
        let whole = DynamicImage::from(expected());
        let picture: DynamicImage = match color {
            L8 => whole.to_luma8().into(),
            La8 => whole.to_luma_alpha8().into(),
            Rgb8 => whole.to_rgb8().into(),
            L16 => whole.to_luma16().into(),
            Rgb16 => whole.to_rgb16().into(),
            Rgba16 => whole.to_rgba16().into(),
            _ => whole,
        };
        let source = dir.path().join(format!("{color:?}.{extension}"));
        write(&source, &picture, Some(ICC));
        let avif = round_trip(&source, "avif");
        let stream = ffprobe(&avif, "-select_streams v:0 -show_entries stream=codec_name,pix_fmt,color_range");
        assert_eq!(stream, [format!("stream|codec_name=av1|pix_fmt={pixels}|color_range=pc")], "{color:?}");
        let (found, icc) = read(&round_trip(&avif, "png"));
        assert_eq!((found.color(), icc.as_deref()), (color, Some(ICC)), "{color:?}");
        let far = worst(&picture, &found);
        assert!(far <= if extension == "jpg" { 10.0 } else { 4.0 }, "{color:?}: {far}");
        if color == Rgba8 {
            let alpha = |picture: &DynamicImage| picture.to_rgba8().pixels().map(|p| p.0[3]).collect::<Vec<_>>();
            assert_eq!(alpha(&picture), alpha(&found), "transparency loses nothing");
        }
    }
}

#[test]
fn depth_and_colours_stay() {
    crate::media::init();
    let dir = tempfile::tempdir().unwrap();
    let facts = |path: &Path| {
        ffprobe(path, "-select_streams v:0 -show_entries stream=pix_fmt,color_space,color_transfer,color_primaries")
    };
    for (name, expected) in [
        ("10-bit", "pix_fmt=yuv444p10le|color_space=smpte170m|color_transfer=iec61966-2-1|color_primaries=bt709"),
        ("12-bit", "pix_fmt=yuv444p12le|color_space=smpte170m|color_transfer=iec61966-2-1|color_primaries=bt709"),
        ("p3", "pix_fmt=yuv444p|color_space=smpte170m|color_transfer=iec61966-2-1|color_primaries=smpte432"),
    ] {
        assert_eq!(facts(&round_trip(&copied(&dir, name), "avif")), [format!("stream|{expected}")], "{name}");
    }
    // A format without codes gets a profile that says the same, which comes back.
    let png = round_trip(&copied(&dir, "p3"), "png");
    let (_, icc) = read(&png);
    assert!(icc.as_deref().is_some_and(|icc| &icc[36..40] == b"acsp"), "{icc:?}");
    assert_eq!(read(&round_trip(&round_trip(&png, "avif"), "tiff")).1, icc);
    assert_eq!(read(&round_trip(&copied(&dir, "420"), "png")).1, None);
}

#[test]
fn exif_data_stays_and_turns_nothing_twice() {
    use image::{ImageDecoder, ImageEncoder};
    crate::media::init();
    let dir = tempfile::tempdir().unwrap();
    let source = dir.path().join("a.png");
    let mut encoder = image::codecs::png::PngEncoder::new(std::fs::File::create(&source).unwrap());
    encoder.set_exif_metadata(oriented(6)).unwrap();
    let picture = DynamicImage::from(expected()).to_rgb8();
    DynamicImage::from(picture.clone()).write_with_encoder(encoder).unwrap();
    let again = round_trip(&round_trip(&round_trip(&source, "avif"), "avif"), "png");
    assert!(worst(&DynamicImage::from(picture).rotate90(), &read(&again).0) <= 5.0);
    let reader = std::io::BufReader::new(std::fs::File::open(&again).unwrap());
    let mut decoder = image::codecs::png::PngDecoder::new(reader).unwrap();
    assert_eq!(decoder.exif_metadata().unwrap(), Some(oriented(1)));
}

#[test]
fn what_is_no_still_of_ours_is_refused_or_a_clip() {
    crate::media::init();
    let dir = tempfile::tempdir().unwrap();
    let limits = Limits::default();
    let refusal = probe(&fixture("pq"), &Keep::default(), &limits).unwrap_err();
    assert!(matches!(refusal, MediaError::UnsupportedCodec { .. }), "{refusal}");
    assert!(refusal.to_string().contains("HDR"), "{refusal}");
    let moving = probe(&fixture("sequence"), &Keep::default(), &limits).unwrap().clip;
    assert_eq!((moving.codec.as_str(), moving.frames()), ("av1", 2));
    let large = probe(&fixture("grid"), &Keep::default(), &Limits { max_pixels: 128 * 128 - 1, ..limits }).unwrap_err();
    assert!(matches!(large, MediaError::OverLimit { what: "number of pixels", .. }), "{large}");
    // The boxes say 40 by 32 pixels; the AV1 has more, and no memory is taken for them.
    let mut bytes = std::fs::read(fixture("420")).unwrap();
    let size = bytes.windows(4).position(|name| name == b"ispe").unwrap() + 8;
    bytes[size..size + 4].copy_from_slice(&40_u32.to_be_bytes());
    let smaller = dir.path().join("smaller.avif");
    std::fs::write(&smaller, &bytes).unwrap();
    let clip = probe(&smaller, &Keep::default(), &limits).unwrap().clip;
    let cut = crate::contract::Cut { start: 0, end: 1, lo: 0, hi: 1, first_packet: 0, last_packet: 0, base_pts: 0 };
    let sliced = crate::media::slice(&smaller, &clip, &[cut], dir.path(), &mut |_, _| Ok(()));
    assert!(matches!(sliced, Err(MediaError::Picture { .. })), "{sliced:?}");
}

#[test]
fn damaged_files_are_refused() {
    crate::media::init();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("damaged.avif");
    let take = |bytes: &[u8]| {
        std::fs::write(&path, bytes).unwrap();
        probe(&path, &Keep::default(), &Limits::default())
    };
    for name in ["alpha", "grid", "cropped"] {
        let bytes = std::fs::read(fixture(name)).unwrap();
        for length in 0..bytes.len() {
            let found = take(&bytes[..length]);
            assert!(found.is_err(), "{name}: {length} bytes are accepted");
            let is_cut = matches!(found, Err(MediaError::Truncated { .. } | MediaError::Picture { .. }));
            assert!(length < 36 || is_cut, "{name}: {length} bytes: {found:?}");
        }
        // Whatever a byte of the boxes becomes, it is an answer; what is still a picture may be decoded.
        let boxes = bytes.windows(4).position(|name| name == b"mdat").unwrap();
        for place in 0..boxes {
            for value in [0, 1, 0x7F, 0xFF, bytes[place] ^ 0x80] {
                let mut damaged = bytes.clone();
                damaged[place] = value;
                let _answer = take(&damaged);
            }
        }
    }
}
