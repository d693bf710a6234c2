//! The output containers, by file extension.

use std::path::Path;

use ffmpeg::{codec, ffi};
use ffmpeg_next as ffmpeg;

use super::error::MediaError;
use super::pictures::Format;

/// The extensions that [`container_of`] knows, for messages.
pub const NAMES: &str = "mp4, m4v, mov, mkv, webm, png, apng, jpg, webp, tiff, gif or avif";

/// A container that finished clips are written to.
///
/// MP4 and MOV keep every time exactly. Matroska rounds times to the millisecond, and FFmpeg 5.1 puts Opus into it some
/// milliseconds early.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Container {
    /// ISO base media, `.mp4` and `.m4v`.
    Mp4,
    /// QuickTime, `.mov`.
    Mov,
    /// Matroska, `.mkv`.
    Matroska,
    /// The part of Matroska that browsers play, `.webm`: AV1 with Opus or Vorbis.
    WebM,
    /// A picture: `.png`, `.apng`, `.jpg`, `.jpeg`, `.webp`, `.tif`, `.tiff`, `.gif`, `.avif`.
    Picture(Format),
}

impl Container {
    /// From an extension without its dot, in any case.
    pub fn from_extension(extension: &str) -> Result<Self, MediaError> {
        match extension.to_ascii_lowercase().as_str() {
            "mp4" | "m4v" => Ok(Self::Mp4),
            "mov" => Ok(Self::Mov),
            "mkv" => Ok(Self::Matroska),
            "webm" => Ok(Self::WebM),
            other => match Format::from_extension(other) {
                Some(format) => Ok(Self::Picture(format)),
                None => Err(MediaError::Container { name: extension.to_owned() }),
            },
        }
    }

    /// The extension that its files usually have.
    pub fn extension(self) -> &'static str {
        match self {
            Self::Mp4 => "mp4",
            Self::Mov => "mov",
            Self::Matroska => "mkv",
            Self::WebM => "webm",
            Self::Picture(format) => format.name(),
        }
    }

    /// FFmpeg's name of the muxer.
    pub(super) fn muxer(self) -> &'static str {
        match self {
            Self::Mp4 => "mp4",
            Self::Mov => "mov",
            Self::Matroska => "matroska",
            Self::WebM => "webm",
            Self::Picture(format) => format.name(),
        }
    }

    /// Whether packets of a codec can be written to it.
    pub(super) fn holds(self, codec: codec::Id) -> bool {
        let muxer = std::ffi::CString::new(self.muxer()).expect("muxer names have no zero byte");
        // SAFETY: the format is a constant of FFmpeg's.
        unsafe {
            let format = ffi::av_guess_format(muxer.as_ptr(), std::ptr::null(), std::ptr::null());
            ffi::avformat_query_codec(format, codec.into(), ffi::FF_COMPLIANCE_NORMAL) == 1
        }
    }
}

/// The container that an output path asks for.
pub fn container_of(path: &Path) -> Result<Container, MediaError> {
    let extension = path.extension().unwrap_or_default().to_string_lossy();
    Container::from_extension(&extension)
}

/// Whether finished clips can be written to a file of this name.
pub fn extension_supported(path: &Path) -> bool {
    container_of(path).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extensions_choose_the_container() {
        for (name, expected) in [
            ("a.mp4", Some(Container::Mp4)),
            ("a.b.MP4", Some(Container::Mp4)),
            ("a.m4v", Some(Container::Mp4)),
            ("a.mov", Some(Container::Mov)),
            ("a.MKV", Some(Container::Matroska)),
            ("a.webm", Some(Container::WebM)),
            ("a.JPG", Some(Container::Picture(Format::Jpeg))),
            ("a.gif", Some(Container::Picture(Format::Gif))),
            ("a.avi", None),
            ("mp4", None),
            (".mp4", None),
        ] {
            assert_eq!(container_of(Path::new(name)).ok(), expected, "{name}");
            assert_eq!(extension_supported(Path::new(name)), expected.is_some(), "{name}");
        }
    }
}
