//! AVIF: 4:4:4 in 8, 10 or 12 bits, near visually lossless; transparency without loss.
//!
//! FFmpeg 5.1 codes the pictures; its muxer knows neither profile nor transparency, and avif-serialize 0.8 no profile, so that the boxes are written
//! here. Sources: AVIF 1.1; AV1-ISOBMFF, 2.3; ISO/IEC 23008-12, 6.5; AV1, 5.3 and 5.5.

use std::io::Write;

use ffmpeg::codec::{self, threading};
use ffmpeg::format::Pixel;
use ffmpeg::{Packet, frame};
use ffmpeg_next as ffmpeg;
use image::DynamicImage;

use super::{Described, WriteError};
use crate::media::pictures::lossless;
use crate::media::properties::PictureProperties;

/// libaom's scale, 0 (best) to 63: 52 dB for a portrait, at a thirtieth of its samples' size.
const QUALITY: &str = "10";
/// libaom's scale, 0 (slowest) to 8.
const SPEED: &str = "6";
/// Of samples that came with 16: the most that AV1 has.
const BITS_MAX: u8 = 12;
const THREADS: usize = 4;
/// BT.601's coefficients, which readers take where nothing is said.
const MATRIX: u16 = 6;
/// Type of an OBU.
const SEQUENCE_HEADER: u8 = 1;
/// Which may not stand in a picture's item.
const TEMPORAL_DELIMITER: u8 = 2;
/// Items.
const COLOR: u16 = 1;
const ALPHA: u16 = 2;
const EXIF: u16 = 3;
const XMP: u16 = 4;

pub(super) fn write(out: &mut impl Write, picture: &DynamicImage, described: &Described) -> Result<(), WriteError> {
    let bits = match (picture.color().bytes_per_pixel() / picture.color().channel_count(), described.bits) {
        (1, _) => 8,
        (_, bits @ (10 | 12)) => bits,
        _ => BITS_MAX,
    };
    let color = Coded::new(&color_frame(picture, bits)?, bits, described, Loss::Little)?;
    let alpha = match picture.color().has_alpha() {
        true => Some(Coded::new(&alpha_frame(picture, bits)?, bits, described, Loss::None)?),
        false => None,
    };
    let file = Written { size: (picture.width(), picture.height()), color, alpha, described };
    Ok(out.write_all(&file.bytes())?)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Loss {
    Little,
    None,
}

/// A coded picture.
struct Coded {
    bytes: Vec<u8>,
    channels: u8,
    bits: u8,
    /// Of `av1C`.
    config: [u8; 4],
}

impl Coded {
    fn new(frame: &frame::Video, bits: u8, described: &Described, loss: Loss) -> Result<Self, WriteError> {
        let refused = |reason: String| WriteError::Content(format!("libaom cannot code it: {reason}"));
        let properties = PictureProperties {
            range: 2,
            matrix: MATRIX.into(),
            transfer: described.space.transfer.into(),
            primaries: described.space.primaries.into(),
            ..lossless::PICTURE
        };
        let codec = ffmpeg::encoder::find_by_name("libaom-av1").ok_or_else(|| refused("it is not there".to_owned()))?;
        let code = || -> Result<Packet, ffmpeg::Error> {
            let mut context = codec::Context::new_with_codec(codec);
            context.set_threading(threading::Config {
                kind: threading::Type::Slice,
                count: THREADS,
                ..threading::Config::default()
            });
            let mut video = context.encoder().video()?;
            video.set_width(frame.width());
            video.set_height(frame.height());
            video.set_format(frame.format());
            video.set_time_base((1, 1));
            // SAFETY: the context belongs to `video` and is not opened yet.
            unsafe { properties.mark_encoder(video.as_mut_ptr()) };
            let mut options = ffmpeg::Dictionary::new();
            options.set("still-picture", "1");
            options.set("usage", "allintra");
            options.set("cpu-used", SPEED);
            match loss {
                Loss::Little => options.set("crf", QUALITY),
                Loss::None => {
                    options.set("crf", "0");
                    options.set("aom-params", "lossless=1");
                }
            }
            let mut encoder = video.open_with(options)?;
            let mut packet = Packet::empty();
            encoder.send_frame(frame)?;
            encoder.send_eof()?;
            encoder.receive_packet(&mut packet)?;
            Ok(packet)
        };
        let packet = code().map_err(|error| refused(error.to_string().to_lowercase()))?;
        let is_grey = matches!(frame.format(), Pixel::GRAY8 | Pixel::GRAY10LE | Pixel::GRAY12LE);
        let (bytes, config) = still(packet.data().unwrap_or_default(), bits, is_grey)
            .ok_or_else(|| refused("its output is not known here".to_owned()))?;
        Ok(Self { bytes, channels: if is_grey { 1 } else { 3 }, bits, config })
    }
}

/// A picture's OBUs without delimiters, and what `av1C` says of them.
fn still(mut data: &[u8], bits: u8, is_grey: bool) -> Option<(Vec<u8>, [u8; 4])> {
    let mut kept = Vec::with_capacity(data.len());
    let mut config = None;
    while let Some(&head) = data.first() {
        let (kind, has_extension, has_size) = (head >> 3 & 0xF, head >> 2 & 1, head >> 1 & 1 == 1);
        if !has_size {
            return None;
        }
        let mut at = 1 + usize::from(has_extension);
        let mut size = 0;
        for shift in 0..4 {
            let byte = *data.get(at)?;
            at += 1;
            size |= usize::from(byte & 0x7F) << (7 * shift);
            if byte < 0x80 {
                break;
            }
        }
        let (obu, rest) = data.split_at_checked(at + size)?;
        if kind == SEQUENCE_HEADER {
            config = Some(config_of(&obu[at..], bits, is_grey)?);
        }
        if kind != TEMPORAL_DELIMITER {
            kept.extend_from_slice(obu);
        }
        data = rest;
    }
    Some((kept, config?))
}

/// `av1C` of a sequence header with the reduced head of stills.
fn config_of(header: &[u8], bits: u8, is_grey: bool) -> Option<[u8; 4]> {
    let &[first, second, ..] = header else { return None };
    let is_reduced = first >> 3 & 1 == 1;
    let (profile, level) = (first >> 5, (first & 7) << 2 | second >> 6);
    let depth = match bits {
        8 => 0,
        10 => 0x40,
        _ => 0x60,
    };
    // Without colour, chroma counts as halved.
    let layout = if is_grey { 0x1C } else { 0 };
    is_reduced.then_some([0x81, profile << 5 | level, depth | layout, 0])
}

/// Luma and chroma in full range, or luma alone.
fn color_frame(picture: &DynamicImage, bits: u8) -> Result<frame::Video, WriteError> {
    let levels = f32::from((1_u16 << bits) - 1);
    if !picture.color().has_color() {
        let samples = picture.to_luma16();
        return plane(picture, bits, &mut |index| f32::from(samples.as_raw()[index]) / 65_535.0 * levels);
    }
    let format = match bits {
        8 => Pixel::YUV444P,
        10 => Pixel::YUV444P10LE,
        _ => Pixel::YUV444P12LE,
    };
    let mut frame = frame::Video::new(format, picture.width(), picture.height());
    let (kr, kb) = crate::frame::Matrix::Bt601.coefficients();
    let middle = f32::from(1_u16 << (bits - 1));
    let yuv = |[r, g, b]: [f32; 3]| {
        let luma = kr * r + (1.0 - kr - kb) * g + kb * b;
        let chroma = |difference: f32, k: f32| (difference / (2.0 - 2.0 * k) + middle).min(levels);
        [luma, chroma(b - luma, kb), chroma(r - luma, kr)]
    };
    let width = picture.width() as usize;
    let strides = [0, 1, 2].map(|plane| frame.stride(plane));
    let mut put = |index: usize, rgb: [f32; 3]| {
        for (plane, sample) in yuv(rgb).into_iter().enumerate() {
            set(frame.data_mut(plane), strides[plane], (index % width, index / width), bits, sample);
        }
    };
    match bits {
        8 => {
            let pixels = picture.to_rgb8();
            pixels.pixels().enumerate().for_each(|(index, pixel)| put(index, pixel.0.map(f32::from)));
        }
        _ => {
            let (pixels, scale) = (picture.to_rgb16(), levels / 65_535.0);
            pixels.pixels().enumerate().for_each(|(index, pixel)| put(index, pixel.0.map(|s| f32::from(s) * scale)));
        }
    }
    Ok(frame)
}

fn alpha_frame(picture: &DynamicImage, bits: u8) -> Result<frame::Video, WriteError> {
    let levels = f32::from((1_u16 << bits) - 1);
    match bits {
        8 => {
            let samples = picture.to_rgba8();
            plane(picture, bits, &mut |index| f32::from(samples.as_raw()[4 * index + 3]))
        }
        _ => {
            let samples = picture.to_rgba16();
            plane(picture, bits, &mut |index| f32::from(samples.as_raw()[4 * index + 3]) / 65_535.0 * levels)
        }
    }
}

/// A frame without colour, from each sample's value.
fn plane(picture: &DynamicImage, bits: u8, sample: &mut dyn FnMut(usize) -> f32) -> Result<frame::Video, WriteError> {
    let format = match bits {
        8 => Pixel::GRAY8,
        10 => Pixel::GRAY10LE,
        _ => Pixel::GRAY12LE,
    };
    let mut frame = frame::Video::new(format, picture.width(), picture.height());
    let (width, stride) = (picture.width() as usize, frame.stride(0));
    for index in 0..width * picture.height() as usize {
        set(frame.data_mut(0), stride, (index % width, index / width), bits, sample(index));
    }
    Ok(frame)
}

fn set(plane: &mut [u8], stride: usize, (x, y): (usize, usize), bits: u8, sample: f32) {
    let sample = sample.round() as u16;
    match bits {
        8 => plane[y * stride + x] = sample as u8,
        _ => plane[y * stride + 2 * x..][..2].copy_from_slice(&sample.to_le_bytes()),
    }
}

/// A file in the making.
struct Written<'a> {
    size: (u32, u32),
    color: Coded,
    alpha: Option<Coded>,
    described: &'a Described,
}

impl Written<'_> {
    fn bytes(&self) -> Vec<u8> {
        let mut file = boxed(b"ftyp", &[b"avif\0\0\0\0avifmif1miaf"]);
        let exif = self.described.exif.as_ref().map(|exif| [&[0; 4], &exif[..]].concat());
        let mut items = vec![(COLOR, &self.color.bytes[..])];
        items.extend(self.alpha.as_ref().map(|alpha| (ALPHA, &alpha.bytes[..])));
        items.extend(exif.as_ref().map(|exif| (EXIF, &exif[..])));
        items.extend(self.described.xmp.as_ref().map(|xmp| (XMP, xmp.as_bytes())));
        // What says where the items lie is as long wherever that is.
        let head = file.len() + self.meta(&items, 0).len() + 8;
        file.extend(self.meta(&items, head));
        let contents: Vec<&[u8]> = items.iter().map(|(_, bytes)| *bytes).collect();
        file.extend(boxed(b"mdat", &contents));
        file
    }

    fn meta(&self, items: &[(u16, &[u8])], start: usize) -> Vec<u8> {
        let mut place = start as u32;
        let mut places = vec![0x44, 0, 0, items.len() as u8];
        let mut kinds = vec![0, items.len() as u8];
        for (id, bytes) in items {
            let length = bytes.len() as u32;
            places.extend([id.to_be_bytes(), [0; 2], 1_u16.to_be_bytes()].concat());
            places.extend([place.to_be_bytes(), length.to_be_bytes()].concat());
            place += length;
            let kind: &[u8] = match *id {
                EXIF => b"Exif\0",
                XMP => b"mime\0application/rdf+xml\0",
                _ => b"av01\0",
            };
            let is_hidden = u8::from(matches!(*id, EXIF | XMP));
            kinds.extend(boxed(b"infe", &[&[2, 0, 0, is_hidden], &id.to_be_bytes(), &[0; 2], kind]));
        }
        let mut references = Vec::new();
        for (id, kind) in items.iter().filter_map(|(id, _)| Some((id, reference(*id)?))) {
            references.extend(boxed(kind, &[&id.to_be_bytes(), &1_u16.to_be_bytes(), &COLOR.to_be_bytes()]));
        }
        let mut content = vec![0; 4];
        content.extend(full(b"hdlr", &[&[0; 4], b"pict", &[0; 13]]));
        content.extend(full(b"pitm", &[&COLOR.to_be_bytes()]));
        content.extend(full(b"iloc", &[&places]));
        content.extend(full(b"iinf", &[&kinds]));
        if !references.is_empty() {
            content.extend(full(b"iref", &[&references]));
        }
        content.extend(self.properties());
        boxed(b"meta", &[&content])
    }

    fn properties(&self) -> Vec<u8> {
        let Described { space, icc, .. } = self.described;
        let mut all = full(b"ispe", &[&self.size.0.to_be_bytes(), &self.size.1.to_be_bytes()]);
        let mut count = 1_u8;
        let mut add = |property: Vec<u8>, essential: u8| {
            all.extend(property);
            count += 1;
            count | essential
        };
        const SIZE: u8 = 1;
        const ESSENTIAL: u8 = 0x80;
        let depth = |coded: &Coded| full(b"pixi", &[&[coded.channels], &[coded.bits; 3][..coded.channels.into()]]);
        let codes = [space.primaries, space.transfer, MATRIX].map(u16::to_be_bytes).concat();
        let mut color = vec![
            SIZE,
            add(boxed(b"av1C", &[&self.color.config]), ESSENTIAL),
            add(depth(&self.color), 0),
            add(boxed(b"colr", &[b"nclx", &codes, &[0x80]]), 0),
        ];
        color.extend(icc.as_ref().map(|icc| add(boxed(b"colr", &[b"prof", icc]), 0)));
        let alpha = self.alpha.as_ref().map(|alpha| {
            let kind = full(b"auxC", &[b"urn:mpeg:mpegB:cicp:systems:auxiliary:alpha\0"]);
            vec![SIZE, add(boxed(b"av1C", &[&alpha.config]), ESSENTIAL), add(depth(alpha), 0), add(kind, 0)]
        });
        let mut associated = (1 + u32::from(alpha.is_some())).to_be_bytes().to_vec();
        for (id, properties) in [(COLOR, Some(color)), (ALPHA, alpha)] {
            let Some(properties) = properties else { continue };
            associated.extend(id.to_be_bytes());
            associated.push(properties.len() as u8);
            associated.extend(properties);
        }
        boxed(b"iprp", &[&boxed(b"ipco", &[&all]), &full(b"ipma", &[&associated])])
    }
}

/// How an item refers to the picture.
fn reference(id: u16) -> Option<&'static [u8; 4]> {
    match id {
        ALPHA => Some(b"auxl"),
        EXIF | XMP => Some(b"cdsc"),
        _ => None,
    }
}

fn boxed(name: &[u8; 4], parts: &[&[u8]]) -> Vec<u8> {
    let size = 8 + parts.iter().map(|part| part.len()).sum::<usize>();
    let mut bytes = (size as u32).to_be_bytes().to_vec();
    bytes.extend(name);
    parts.iter().for_each(|part| bytes.extend_from_slice(part));
    bytes
}

/// A box with version 0 and no flags.
fn full(name: &[u8; 4], parts: &[&[u8]]) -> Vec<u8> {
    let whole: Vec<&[u8]> = [&[0; 4][..]].into_iter().chain(parts.iter().copied()).collect();
    boxed(name, &whole)
}
