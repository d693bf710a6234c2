//! Stills and animated images: they go through the same stages as clips, and come out as what they were.
//!
//! A picture's file is decoded once, by ingest, upright as its EXIF orientation says. Its slices hold the frames without loss
//! ([`lossless`]), and so do the chunks' results where the output is a picture again; [`join()`] then writes the file. What was not
//! touched is the same, bit by bit, in formats that lose nothing.
//!
//! AVIF that moves is video to FFmpeg: it comes in as any clip does.

mod animation;
mod avif;
mod exif;
mod frames;
mod header;
mod join;
pub(super) mod lossless;
mod probe;
mod raster;
mod slice;
mod space;
mod video;
mod write;

use std::fs::File;
use std::io::Read;
use std::path::Path;

use super::error::MediaError;
use super::probe::Limits;

pub(super) use join::join;
pub(super) use lossless::is_marked;
pub(super) use probe::probe;
pub(super) use slice::slice;
pub(super) use video::to_video;

/// Extensions of outputs, and what they stand for.
const EXTENSIONS: [(&str, Format); 9] = [
    ("png", Format::Png),
    ("apng", Format::Png),
    ("jpg", Format::Jpeg),
    ("jpeg", Format::Jpeg),
    ("webp", Format::WebP),
    ("tif", Format::Tiff),
    ("tiff", Format::Tiff),
    ("gif", Format::Gif),
    ("avif", Format::Avif),
];

/// As many bytes of a file tell whether it is a picture: AVIF's brands may be many.
pub const HEAD: u64 = 256;

/// A picture's file format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// PNG; with several frames APNG.
    Png,
    /// JPEG.
    Jpeg,
    /// WebP, still or animated.
    WebP,
    /// TIFF.
    Tiff,
    /// GIF, still or animated.
    Gif,
    /// AVIF, still.
    Avif,
}

impl Format {
    /// From an output's extension without its dot, in lower case.
    pub(super) fn from_extension(extension: &str) -> Option<Self> {
        EXTENSIONS.iter().find(|(known, _)| *known == extension).map(|(_, format)| *format)
    }

    /// As messages and [`crate::contract::Clip::format`] call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Png => "png",
            Self::Jpeg => "jpeg",
            Self::WebP => "webp",
            Self::Tiff => "tiff",
            Self::Gif => "gif",
            Self::Avif => "avif",
        }
    }

    /// What [`Format::name`] says.
    pub fn from_name(name: &str) -> Option<Self> {
        EXTENSIONS.iter().map(|(_, format)| *format).find(|format| format.name() == name)
    }

    /// Whether a file of this format can hold several frames with their times.
    pub fn can_move(self) -> bool {
        matches!(self, Self::Png | Self::WebP | Self::Gif)
    }

    /// By the first bytes of a file, [`HEAD`] or more; `None` if it is no picture.
    pub fn sniff(head: &[u8]) -> Option<Self> {
        match head {
            [0x89, b'P', b'N', b'G', b'\r', b'\n', 0x1A, b'\n', ..] => Some(Self::Png),
            [0xFF, 0xD8, 0xFF, ..] => Some(Self::Jpeg),
            [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => Some(Self::WebP),
            [b'I', b'I', 42, 0, ..] | [b'M', b'M', 0, 42, ..] => Some(Self::Tiff),
            [b'G', b'I', b'F', b'8', b'7' | b'9', b'a', ..] => Some(Self::Gif),
            _ => avif::is_still(head).then_some(Self::Avif),
        }
    }
}

/// The format of the picture at `path`; `None` if it is none, or cannot be read.
pub fn format_of(path: &Path) -> Option<Format> {
    let mut head = Vec::with_capacity(HEAD as usize);
    File::open(path).ok()?.take(HEAD).read_to_end(&mut head).ok()?;
    Format::sniff(&head)
}

/// Decodes the first frame of the picture at `path`, to see that it can be.
///
/// # Errors
/// [`MediaError::Picture`](super::MediaError::Picture) and what else [`super::probe()`] says of a picture;
/// [`MediaError::NotVideo`](super::MediaError::NotVideo) if it is none.
pub fn check(path: &Path, limits: &Limits) -> Result<(), MediaError> {
    let no_picture = || MediaError::NotVideo { path: path.to_owned(), reason: "not a picture".to_owned() };
    let header = header::Header::read(path, format_of(path).ok_or_else(no_picture)?, limits)?;
    frames::Frames::open(path, &header, limits)?.next().transpose().map(drop)
}

/// Whether a clip of this [`crate::contract::Clip::format`] is a picture.
pub fn is_picture(format: &str) -> bool {
    Format::from_name(format).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_are_known_by_their_first_bytes() {
        for (head, expected) in [
            (&b"\x89PNG\r\n\x1a\n...."[..], Some(Format::Png)),
            (b"\xFF\xD8\xFF\xE0", Some(Format::Jpeg)),
            (b"RIFF\x10\0\0\0WEBPVP8 ", Some(Format::WebP)),
            (b"RIFF\x10\0\0\0AVI LIST", None),
            (b"II*\0", Some(Format::Tiff)),
            (b"MM\0*", Some(Format::Tiff)),
            (b"GIF89a", Some(Format::Gif)),
            (b"GIF90a", None),
            (b"\0\0\0\x1Cftypavif\0\0\0\0avifmif1miaf", Some(Format::Avif)),
            (b"", None),
        ] {
            assert_eq!(Format::sniff(head), expected, "{head:?}");
        }
        for (_, format) in EXTENSIONS {
            assert_eq!(Format::from_name(format.name()), Some(format));
        }
    }
}
