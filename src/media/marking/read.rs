//! Reads what a file says of itself: the tags of containers through FFmpeg, the XMP of pictures wherever it stands.

use std::fs::File;
use std::path::Path;

use ffmpeg::ffi;
use ffmpeg_next as ffmpeg;

use super::{AIGC, SOURCE_TYPE, XMP};
use crate::marks::{Found, LABEL_MAX, find};
use crate::media::error::MediaError;
use crate::media::{input, pictures};

/// What the file at `path` says of how and by whom it was made: one of the formats that outputs have, by whatever maker, or any other where it
/// stands as a text. What is compressed within it (PNG's `zTXt`) is not found.
///
/// # Errors
/// [`MediaError::Unreadable`]. A file that is no media says nothing.
pub fn read_marks(path: &Path) -> Result<Found, MediaError> {
    if pictures::format_of(path).is_none()
        && let Some(tags) = container_tags(path)?
    {
        return Ok(tags);
    }
    let unreadable = |source| MediaError::Unreadable { path: path.to_owned(), source };
    let file = File::open(path).map_err(unreadable)?;
    find(file).map_err(unreadable)
}

/// `None` if it is no container that FFmpeg is let read.
fn container_tags(path: &Path) -> Result<Option<Found>, MediaError> {
    let input = match input::open_to_read_tags(path) {
        Ok(input) => input,
        Err(error @ MediaError::Unreadable { .. }) => return Err(error),
        Err(_) => return Ok(None),
    };
    // Byte by byte: not all of it is UTF-8.
    let tag = |name: &str| {
        let name = std::ffi::CString::new(name).expect("names have no zero byte");
        // SAFETY: the context lives as long as `input`; the entry as long as its dictionary, which nobody changes.
        unsafe {
            let entry = ffi::av_dict_get((*input.as_ptr()).metadata, name.as_ptr(), std::ptr::null(), 0);
            entry.as_ref().map(|entry| std::ffi::CStr::from_ptr(entry.value).to_bytes().to_vec())
        }
    };
    let text = |name: &str| {
        let text = String::from_utf8(tag(name)?).ok().filter(|text| text.len() <= LABEL_MAX)?;
        Some(text.trim().to_owned()).filter(|text| !text.is_empty())
    };
    let said = Found { digital_source_type: text(SOURCE_TYPE), aigc: text(AIGC) };
    let packet = tag(XMP).unwrap_or_default();
    Ok(Some(said.or(find(&packet[..]).expect("memory can be read"))))
}
