//! Watches a clip's pictures for a change of size or pixel format, by the headers of its keyframes; nothing is decoded.
//!
//! A chunk's encoder and the joined stream have one size. A clip that changes it (two recordings put together, a stream that adapts to
//! its line) is told apart before any work. Codecs whose headers are not read here (MPEG-4, ProRes) are told apart by their decoder.

use std::ffi::c_int;
use std::ptr;

use ffmpeg::packet::side_data;
use ffmpeg::{Packet, codec, ffi};
use ffmpeg_next as ffmpeg;

use super::probe::pixel_format_name;

/// Width, height and FFmpeg's name of the pixel format; empty where the header does not say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Picture {
    width: u32,
    height: u32,
    format: String,
}

impl std::fmt::Display for Picture {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "{}x{}", self.width, self.height)?;
        if self.format.is_empty() { Ok(()) } else { write!(out, " {}", self.format) }
    }
}

/// The pictures of one stream.
pub(super) struct PictureWatch {
    headers: Option<Headers>,
    first: Option<Picture>,
}

enum Headers {
    Parser(Parser),
    Vp9,
    Jpeg,
}

impl PictureWatch {
    pub(super) fn new(parameters: codec::Parameters) -> Self {
        use codec::Id;
        let headers = match parameters.id() {
            Id::VP9 => Some(Headers::Vp9),
            Id::MJPEG => Some(Headers::Jpeg),
            Id::H264 | Id::HEVC | Id::MPEG1VIDEO | Id::MPEG2VIDEO | Id::VP8 | Id::AV1 => {
                Parser::new(parameters).map(Headers::Parser)
            }
            _ => None,
        };
        Self { headers, first: None }
    }

    /// What the picture was and has become, if this packet is a keyframe whose picture differs from the first one's.
    pub(super) fn change(&mut self, packet: &Packet) -> Option<(Picture, Picture)> {
        if !packet.is_key() {
            return None;
        }
        let data = packet.data()?;
        let found = match self.headers.as_mut()? {
            Headers::Vp9 => size_of_vp9(data).map(sized),
            Headers::Jpeg => size_of_jpeg(data).map(sized),
            Headers::Parser(parser) => parser.picture(packet),
        };
        let found = found.filter(|found| found.width > 0 && found.height > 0)?;
        let first = self.first.get_or_insert_with(|| found.clone());
        (*first != found).then(|| (first.clone(), found))
    }
}

fn sized((width, height): (u32, u32)) -> Picture {
    Picture { width, height, format: String::new() }
}

/// One of FFmpeg's parsers.
struct Parser {
    parser: *mut ffi::AVCodecParserContext,
    context: codec::Context,
    parameters: codec::Parameters,
}

impl Parser {
    fn new(parameters: codec::Parameters) -> Option<Self> {
        let context = codec::Context::from_parameters(parameters.clone()).ok()?;
        // SAFETY: the number is FFmpeg's own; null where it has no parser.
        let parser = unsafe { ffi::av_parser_init(ffi::AVCodecID::from(parameters.id()) as c_int) };
        if parser.is_null() {
            return None;
        }
        // SAFETY: it was just made and is ours.
        unsafe { (*parser).flags |= ffi::PARSER_FLAG_COMPLETE_FRAMES as c_int };
        Some(Self { parser, context, parameters })
    }

    fn picture(&mut self, packet: &Packet) -> Option<Picture> {
        use ffmpeg::packet::Ref as _;
        if let Some(extra) = packet.side_data().find(|data| data.kind() == side_data::Type::NewExtraData) {
            // Another sample entry of an MP4: a parser reads these parameters only at its beginning.
            let mut fresh = Self::new(self.parameters.clone())?;
            fresh.set_extradata(extra.data())?;
            *self = fresh;
        }
        let (mut out, mut size) = (ptr::null_mut(), 0);
        // SAFETY: parser and context are ours; the packet's data is padded as FFmpeg's parsers want it, and lives on.
        unsafe {
            let packet = &*packet.as_ptr();
            ffi::av_parser_parse2(
                self.parser,
                self.context.as_mut_ptr(),
                &mut out,
                &mut size,
                packet.data,
                packet.size,
                packet.pts,
                packet.dts,
                packet.pos,
            );
            let parser = &*self.parser;
            // `yuvj420p` is `yuv420p` with another range, which may change.
            let format = pixel_format_name(parser.format).replace("yuvj", "yuv");
            Some(Picture {
                width: u32::try_from(parser.width).unwrap_or(0),
                height: u32::try_from(parser.height).unwrap_or(0),
                format,
            })
        }
    }

    fn set_extradata(&mut self, data: &[u8]) -> Option<()> {
        let padded = data.len() + ffi::AV_INPUT_BUFFER_PADDING_SIZE as usize;
        // SAFETY: the context is ours and owns its extradata, which is allocated as FFmpeg wants it.
        unsafe {
            let context = self.context.as_mut_ptr();
            let memory = ffi::av_mallocz(padded).cast::<u8>();
            if memory.is_null() {
                return None;
            }
            ptr::copy_nonoverlapping(data.as_ptr(), memory, data.len());
            ffi::av_free((*context).extradata.cast());
            (*context).extradata = memory;
            (*context).extradata_size = c_int::try_from(data.len()).ok()?;
        }
        Some(())
    }
}

impl Drop for Parser {
    fn drop(&mut self) {
        // SAFETY: it was made by `av_parser_init` and is closed once.
        unsafe { ffi::av_parser_close(self.parser) };
    }
}

/// Of a keyframe's uncompressed header (VP9 bitstream specification 0.6, section 6.2).
fn size_of_vp9(data: &[u8]) -> Option<(u32, u32)> {
    let mut at = 0_usize;
    let mut bits = |count: usize| {
        (0..count).try_fold(0_u32, |value, _| {
            let byte = data.get(at / 8)?;
            let bit = byte >> (7 - at % 8) & 1;
            at += 1;
            Some(value << 1 | u32::from(bit))
        })
    };
    let marker = bits(2)?;
    let profile = bits(1)? | bits(1)? << 1;
    if marker != 2 || profile == 3 && bits(1)? != 0 {
        return None;
    }
    let (shows_existing, is_inter) = (bits(1)? == 1, bits(1)? == 1);
    bits(2)?; // show_frame, error_resilient_mode
    if shows_existing || is_inter || bits(24)? != 0x49_83_42 {
        return None;
    }
    if profile >= 2 {
        bits(1)?; // ten_or_twelve_bit
    }
    let is_rgb = bits(3)? == 7;
    let subsampling_bits = if profile & 1 == 1 { if is_rgb { 1 } else { 3 } } else { 0 };
    bits(subsampling_bits + usize::from(!is_rgb))?; // and color_range
    Some((bits(16)? + 1, bits(16)? + 1))
}

/// Of a JPEG's frame header (ITU-T T.81, B.2.2).
fn size_of_jpeg(data: &[u8]) -> Option<(u32, u32)> {
    let mut at = 2; // behind the first marker, SOI
    loop {
        let [0xFF, marker, high, low] = *data.get(at..at + 4)?.first_chunk::<4>()? else { return None };
        if matches!(marker, 0xC0..=0xCF if !matches!(marker, 0xC4 | 0xC8 | 0xCC)) {
            let [height1, height0, width1, width0] = *data.get(at + 5..at + 9)?.first_chunk::<4>()?;
            return Some((u16::from_be_bytes([width1, width0]).into(), u16::from_be_bytes([height1, height0]).into()));
        }
        at += 2 + usize::from(u16::from_be_bytes([high, low]));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_tell_sizes() {
        // Profile 0, a keyframe of 853x479, as libvpx writes it: colour space 0, studio range.
        let vp9 = [0x82, 0x49, 0x83, 0x42, 0x00, 0x35, 0x40, 0x1D, 0xE0];
        assert_eq!(size_of_vp9(&vp9), Some((853, 479)));
        assert_eq!(size_of_vp9(&vp9[..7]), None);
        assert_eq!(size_of_vp9(&[0x86, 0, 0]), None, "no keyframe");
        let jpeg =
            [0xFF, 0xD8, 0xFF, 0xE0, 0, 4, 1, 2, 0xFF, 0xC4, 0, 2, 0xFF, 0xC0, 0, 17, 8, 1, 0x68, 2, 0x80, 3, 1, 0x22];
        assert_eq!(size_of_jpeg(&jpeg), Some((640, 360)));
        assert_eq!(size_of_jpeg(&jpeg[..14]), None);
        assert_eq!(size_of_jpeg(&[0xFF, 0xD8, 0xFF, 0xE0, 0, 0, 0, 0]), None, "a length that does not go on");
    }
}
