//! Which pixel formats are worked on as they are, and what the others become on their way from decoder to encoder.
//!
//! | FFmpeg's formats | looked at, and encoded, as | what is lost |
//! |---|---|---|
//! | planar YUV of 8 to 16 bits, little endian, any subsampling (`yuv420p`, `yuvj422p`, `yuv444p12le`, `yuv411p`, …) | themselves | nothing |
//! | `gray` to `gray16le` | themselves; the new face is grey too | nothing |
//! | the same in other orders: `nv12`, `nv21`, `nv16`, `p010le`, `p210le`, `yuyv422`, `uyvy422`, `y210le`, big endian | the planar format of the same depth and subsampling | nothing |
//! | with transparency: `yuva420p`, `yuva444p10le`, `ya8`, … | the same without | transparency |
//! | RGB of one depth (`rgb24`, `bgra`, `gbrp`, `rgb48le`, `gbrp10le`, …) | itself, through YUV of 16 bits: untouched pixels and transparency keep their bits | nothing |
//! | RGB that the encoder does not take, `pal8`, `rgb565le`: up to 8 bits | `yuv444p`, full range, of the matrix that the clip names | up to 2 of 255 steps, by rounding; transparency |
//! | the same of more bits | `yuv444p10le`, likewise | bits beyond ten; transparency |
//! | Bayer, XYZ, float, one bit per pixel, pictures in a graphics card's memory | refused | |
//!
//! What the encoder does not take is then given to it in the nearest format with at least the same depth and chroma
//! (`yuv411p` as `yuv422p`, `yuv440p` as `yuv444p`, 9 bits as 10), which loses nothing; if there is none (12 bits for
//! libx264) the clip is refused. What it takes, and nobody looks at, passes as it is, whatever the format.

use std::ffi::c_int;

use ffmpeg::ffi;
use ffmpeg::format::Pixel;
use ffmpeg_next as ffmpeg;

use super::encode::{accepted_pixels, unsupported};
use super::error::MediaError;

/// The way of a clip's pixels from its decoder to its encoder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PixelPath {
    /// FFmpeg's name of the format that is encoded.
    pub encoded: &'static str,
    /// What is lost on the way; nothing in most cases.
    pub lost: Option<&'static str>,
}

/// What becomes of pictures of `pixel_format` (FFmpeg's name) that `encoder` is to encode, and that are `looked_at`
/// ([`crate::frame::Pixels`]) before, or not.
///
/// # Errors
/// [`MediaError::OpaquePixels`], [`MediaError::UnsupportedPixels`], [`MediaError::EncoderMissing`].
pub fn pixel_path(pixel_format: &str, encoder: &str, looked_at: bool) -> Result<PixelPath, MediaError> {
    let opaque = || MediaError::OpaquePixels { pixel_format: pixel_format.to_owned() };
    let source: Pixel = pixel_format.parse().map_err(|_| opaque())?;
    let seen = match looked_at && rgb_depth(source).is_none() {
        true => planar(source).ok_or_else(opaque)?,
        false => source,
    };
    let encoded = encodable(seen, encoder)?;
    Ok(PixelPath { encoded: name(encoded), lost: lost(source, encoded) })
}

/// Whether pictures of `pixel_format` (FFmpeg's name) can be looked at and changed; see [`pixel_path`].
pub fn pixels_viewable(pixel_format: &str) -> bool {
    pixel_format.parse().ok().and_then(planar).is_some()
}

/// How the samples of a planar format lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Layout {
    /// Bits of a sample, 8..=16: one byte, or two in native order.
    pub depth: u8,
    /// log2 of the chroma subsampling, horizontal and vertical.
    pub shift: (u8, u8),
    /// There is one plane only.
    pub is_grey: bool,
}

impl Layout {
    /// Bytes of a sample.
    pub fn bytes(&self) -> usize {
        if self.depth > 8 { 2 } else { 1 }
    }

    /// Columns and rows of plane 0, 1 or 2.
    pub fn size(&self, plane: usize, (width, height): (usize, usize)) -> (usize, usize) {
        match plane {
            0 => (width, height),
            _ => (width.div_ceil(1 << self.shift.0), height.div_ceil(1 << self.shift.1)),
        }
    }
}

/// The layout of planar YUV or grey without transparency; `None` for every other format.
pub(super) fn layout(format: Pixel) -> Option<Layout> {
    let kind = Kind::of(format)?;
    let is_planar = kind.components.iter().enumerate().all(|(index, component)| {
        let bytes = if component.depth > 8 { 2 } else { 1 };
        component.plane == index as c_int
            && (component.step, component.offset, component.shift) == (bytes, 0, 0)
            && component.depth == kind.components[0].depth
    });
    let is_plain =
        is_planar && !kind.has(ffi::AV_PIX_FMT_FLAG_RGB | ffi::AV_PIX_FMT_FLAG_PAL | ffi::AV_PIX_FMT_FLAG_ALPHA);
    let is_native = !kind.has(ffi::AV_PIX_FMT_FLAG_BE) || kind.components[0].depth == 8;
    if !is_plain || !is_native {
        return None;
    }
    kind.planar_layout()
}

/// The planar format in which pictures of `format` are looked at; the format itself if it is one. `None` if they cannot be.
pub(super) fn planar(format: Pixel) -> Option<Pixel> {
    if layout(format).is_some() {
        return Some(format);
    }
    let kind = Kind::of(format)?;
    let wanted = match kind.is_rgb() {
        true if kind.components.iter().all(|component| component.depth <= 8) => return Some(Pixel::YUV444P),
        true => return Some(Pixel::YUV444P10LE),
        false => kind.planar_layout()?,
    };
    formats().find(|&format| layout(format) == Some(wanted))
}

/// Bits of each colour of RGB that can be looked at and changed as it is; `None` for every other format.
pub(super) fn rgb_depth(format: Pixel) -> Option<usize> {
    let kind = Kind::of(format).filter(|kind| kind.is_rgb() && !kind.is_palette())?;
    let depth = kind.components[0].depth;
    let is_uniform = kind.components.len() >= 3 && kind.components.iter().all(|component| component.depth == depth);
    is_uniform.then_some(depth as usize)
}

/// The format in which pictures of `format` are given to `encoder`.
pub(super) fn encodable(format: Pixel, encoder: &str) -> Result<Pixel, MediaError> {
    let accepted = accepted_pixels(encoder)?;
    if accepted.contains(&format) {
        return Ok(format);
    }
    let refused = || unsupported(encoder, name(format), &accepted);
    let has = planar(format).and_then(layout).ok_or_else(refused)?;
    let nearest = accepted.iter().filter_map(|&format| Some((format, layout(format)?))).filter(|(_, other)| {
        let keeps_chroma = other.shift.0 <= has.shift.0 && other.shift.1 <= has.shift.1;
        other.is_grey == has.is_grey && other.depth >= has.depth && keeps_chroma
    });
    // Ends of equal merit (yuvj422p beside yuv422p) go to the first: the range is said by the frame.
    let nearest =
        nearest.min_by_key(|(_, other)| (other.depth, has.shift.0 - other.shift.0 + has.shift.1 - other.shift.1));
    nearest.map(|(format, _)| format).ok_or_else(refused)
}

/// What pictures of `from` lose as `to`.
fn lost(from: Pixel, to: Pixel) -> Option<&'static str> {
    let (source, target) = (Kind::of(from)?, Kind::of(to)?);
    let is_rounded = source.is_rgb() && !target.is_rgb();
    let is_opaque = source.has(ffi::AV_PIX_FMT_FLAG_ALPHA) && !target.has(ffi::AV_PIX_FMT_FLAG_ALPHA);
    match (is_rounded, is_opaque) {
        (true, true) => Some("transparency and exact colours (RGB is rounded to YUV)"),
        (true, false) => Some("exact colours (RGB is rounded to YUV)"),
        (false, true) => Some("transparency"),
        (false, false) => None,
    }
}

/// FFmpeg's name of a format.
pub(super) fn name(format: Pixel) -> &'static str {
    format.descriptor().map_or("unknown", |descriptor| descriptor.name())
}

/// What FFmpeg says about a format whose samples can be read one by one.
pub(super) struct Kind {
    pub descriptor: *const ffi::AVPixFmtDescriptor,
    flags: u64,
    /// log2 of the chroma subsampling, horizontal and vertical.
    pub shift: (u8, u8),
    /// Y, Cb, Cr or R, G, B, and transparency; the index of a palette.
    pub components: &'static [ffi::AVComponentDescriptor],
}

impl Kind {
    pub fn of(format: Pixel) -> Option<Self> {
        const UNREADABLE: c_int = ffi::AV_PIX_FMT_FLAG_BITSTREAM
            | ffi::AV_PIX_FMT_FLAG_HWACCEL
            | ffi::AV_PIX_FMT_FLAG_BAYER
            | ffi::AV_PIX_FMT_FLAG_FLOAT;
        let descriptor = format.descriptor()?;
        // SAFETY: FFmpeg's descriptors are constants.
        let known: &'static ffi::AVPixFmtDescriptor = unsafe { &*descriptor.as_ptr() };
        let kind = Self {
            descriptor: known,
            flags: known.flags,
            shift: (known.log2_chroma_w, known.log2_chroma_h),
            components: &known.comp[..usize::from(known.nb_components)],
        };
        // XYZ is marked as nothing, and 4:1:1 in six bytes is described wrongly.
        let is_misleading = descriptor.name().starts_with("xyz") || descriptor.name() == "uyyvyy411";
        let is_readable = !kind.has(UNREADABLE) && !is_misleading && !kind.components.is_empty();
        let fits = kind.components.iter().all(|component| (1..=16).contains(&component.depth));
        (is_readable && fits).then_some(kind)
    }

    pub fn has(&self, flags: c_int) -> bool {
        self.flags & u64::from(flags.unsigned_abs()) != 0
    }

    pub fn is_rgb(&self) -> bool {
        self.has(ffi::AV_PIX_FMT_FLAG_RGB | ffi::AV_PIX_FMT_FLAG_PAL)
    }

    pub fn is_palette(&self) -> bool {
        self.has(ffi::AV_PIX_FMT_FLAG_PAL)
    }

    /// The layout of its samples, if each had a plane of its own; not for RGB.
    fn planar_layout(&self) -> Option<Layout> {
        let is_grey = self.components.len() < 3;
        let depth = u8::try_from(self.components[0].depth).ok().filter(|depth| (8..=16).contains(depth))?;
        let shift = if is_grey { (1, 1) } else { self.shift };
        (shift.0 <= 2 && shift.1 <= 2).then_some(Layout { depth, shift, is_grey })
    }
}

/// All formats that FFmpeg knows, the usual ones first.
fn formats() -> impl Iterator<Item = Pixel> {
    // SAFETY: null begins the list; after its last entry comes null.
    let next = |before: *const ffi::AVPixFmtDescriptor| unsafe { ffi::av_pix_fmt_desc_next(before) };
    let all = std::iter::successors(Some(next(std::ptr::null())), move |&before| Some(next(before)));
    // SAFETY: what the list gives is a descriptor.
    all.take_while(|entry| !entry.is_null()).map(|entry| unsafe { ffi::av_pix_fmt_desc_get_id(entry) }.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_become_planar() {
        for (from, to) in [
            ("yuv420p", Some("yuv420p")),
            ("yuvj422p", Some("yuvj422p")),
            ("yuv444p12le", Some("yuv444p12le")),
            ("yuv440p", Some("yuv440p")),
            ("yuv411p", Some("yuv411p")),
            ("yuv410p", Some("yuv410p")),
            ("yuv420p9le", Some("yuv420p9le")),
            ("yuv422p16le", Some("yuv422p16le")),
            ("gray", Some("gray")),
            ("gray12le", Some("gray12le")),
            ("nv12", Some("yuv420p")),
            ("nv21", Some("yuv420p")),
            ("nv16", Some("yuv422p")),
            ("nv24", Some("yuv444p")),
            ("p010le", Some("yuv420p10le")),
            ("p016le", Some("yuv420p16le")),
            ("p210le", Some("yuv422p10le")),
            ("yuyv422", Some("yuv422p")),
            ("uyvy422", Some("yuv422p")),
            ("y210le", Some("yuv422p10le")),
            ("yuv420p10be", Some("yuv420p10le")),
            ("gray16be", Some("gray16le")),
            ("yuva444p10le", Some("yuv444p10le")),
            ("ya8", Some("gray")),
            ("rgb24", Some("yuv444p")),
            ("bgra", Some("yuv444p")),
            ("gbrp", Some("yuv444p")),
            ("pal8", Some("yuv444p")),
            ("rgb565le", Some("yuv444p")),
            ("rgb48be", Some("yuv444p10le")),
            ("gbrp12le", Some("yuv444p10le")),
            ("bayer_rggb8", None),
            ("xyz12le", None),
            ("grayf32le", None),
            ("monow", None),
            ("vaapi", None),
            ("uyyvyy411", None),
        ] {
            let format: Pixel = from.parse().unwrap();
            assert_eq!(planar(format).map(name), to, "{from}");
            assert!(planar(format).is_none_or(|planar| layout(planar).is_some()), "{from}");
        }
    }

    #[test]
    fn every_format_has_its_way_or_is_refused() {
        const ROUNDED: &str = "exact colours (RGB is rounded to YUV)";
        let check = |encoder: &str, looked_at: bool, from: &str, expected: Option<(&str, Option<&str>)>| {
            let found = pixel_path(from, encoder, looked_at);
            let found = found.as_ref().ok().map(|path| (path.encoded, path.lost));
            assert_eq!(found, expected, "{from} for {encoder}, looked at: {looked_at}");
        };
        for looked_at in [false, true] {
            check("libx264", looked_at, "yuvj420p", Some(("yuvj420p", None)));
            check("libx264", looked_at, "yuv422p10le", Some(("yuv422p10le", None)));
            check("libx264", looked_at, "yuyv422", Some(("yuv422p", None)));
            check("libx264", looked_at, "p010le", Some(("yuv420p10le", None)));
            check("libx264", looked_at, "yuv411p", Some(("yuv422p", None)));
            check("libx264", looked_at, "yuv410p", Some(("yuv420p", None)));
            check("libx264", looked_at, "yuvj440p", Some(("yuv444p", None)));
            check("libx264", looked_at, "yuv420p9le", Some(("yuv420p10le", None)));
            check("libx264", looked_at, "yuva420p", Some(("yuv420p", Some("transparency"))));
            check("libx264", looked_at, "gray", Some(("gray", None)));
            check("libx264", looked_at, "rgb24", Some(("yuv444p", Some(ROUNDED))));
            check("libx264", looked_at, "yuv420p12le", None);
            check("libx264", looked_at, "bayer_rggb8", None);
            check("libx264", looked_at, "no such format", None);
            check("libx265", looked_at, "yuv420p12le", Some(("yuv420p12le", None)));
            check("libx265", looked_at, "yuv420p16le", None);
        }
        check("libx264", false, "nv12", Some(("nv12", None)));
        check("libx264", true, "nv12", Some(("yuv420p", None)));
        check("libx265", false, "gbrp", Some(("gbrp", None)));
        check("libx265", true, "gbrp", Some(("gbrp", None)));
        check("libx264", true, "gbrp", Some(("yuv444p", Some(ROUNDED))));
        assert!(matches!(pixel_path("yuv420p", "libfoo", true), Err(MediaError::EncoderMissing { .. })));
    }
}
