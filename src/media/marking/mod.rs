//! Puts marks into finished clips, and finds them in anybody's files.
//!
//! | container | GB 45438 | how it was made |
//! |---|---|---|
//! | MP4 | key `AIGC` in `moov.udta.meta` | XMP in a box `uuid` at the end |
//! | MOV | the same | XMP in `moov.udta.XMP_` |
//! | Matroska, WebM | tag `AIGC` | tag `DIGITAL_SOURCE_TYPE`: neither has a place for XMP |
//!
//! A label stands once in a file (GB 45438-2025, 6.1), so XMP holds it only where the format has no place of its own for it, as in pictures
//! (`media::pictures`). Sources: TC260-PG-20257A, 6; XMP Specification, part 3, 1.1.5 and 1.1.6.

mod boxes;
mod read;

use std::ffi::CString;
use std::fs::OpenOptions;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;

use ffmpeg::ffi;
use ffmpeg::format::context::Output;
use ffmpeg_next as ffmpeg;

use super::container::Container;
use super::error::MediaError;
use crate::marks::{Marks, xmp};
use boxes::{Keys, Udta};

pub use read::read_marks;

/// The label's name in containers.
const AIGC: &str = "AIGC";
/// How a file was made, in containers without XMP. No standard has a name for it; this one is the XMP property's, spelt as Matroska's are.
const SOURCE_TYPE: &str = "DIGITAL_SOURCE_TYPE";
/// FFmpeg's name for XMP in MOV.
const XMP: &str = "xmp";
/// What FFmpeg writes as `moov.udta.meta.ilst.keyw` of MP4.
const KEYWORDS: &str = "keywords";
/// Type of a `uuid` box with XMP.
const XMP_UUID: [u8; 16] =
    [0xBE, 0x7A, 0xCF, 0xCB, 0x97, 0xA9, 0x42, 0xE8, 0x9C, 0x71, 0x99, 0x94, 0x91, 0xE3, 0xAF, 0xAC];
/// Bytes of `moov.udta`, with cover art.
const UDTA_MAX: u64 = 256 << 20;

/// Tells the muxer what it writes of the marks. What the source says of the same is replaced.
///
/// FFmpeg 5.1 writes keys into MP4 and MOV instead of iTunes' tags, never beside them, and players read these. So it is given something else to
/// write that is as long as the keys, and [`complete`] puts them there.
pub(super) fn tell(output: &mut Output, container: Container, marks: &Marks) {
    let label = marks.aigc.as_ref().map(|aigc| aigc.json());
    match container {
        Container::Mp4 => {
            if let Some(label) = label {
                set(output, KEYWORDS, &boxes::room(Keys { name: AIGC, value: &label }), ffi::AV_DICT_APPEND);
            }
        }
        Container::Mov => {
            let packet = xmp::packet(marks.digital_source_type, None);
            let room = label.map(|label| boxes::room(Keys { name: AIGC, value: &label }));
            set(output, XMP, &(packet + room.as_deref().unwrap_or_default()), 0);
        }
        Container::Matroska | Container::WebM => {
            set(output, SOURCE_TYPE, &marks.digital_source_type.to_string(), 0);
            if let Some(label) = label {
                set(output, AIGC, &label, 0);
            }
        }
        Container::Picture(_) => {}
    }
}

fn set(output: &mut Output, key: &str, value: &str, flags: std::ffi::c_int) {
    let text = |text: &str| CString::new(text).expect("neither keys nor marks have a zero byte");
    let (key, value) = (text(key), text(value));
    // SAFETY: the context is ours; both strings are copied.
    unsafe { ffi::av_dict_set(&mut (*output.as_mut_ptr()).metadata, key.as_ptr(), value.as_ptr(), flags) };
}

/// Writes what the muxer cannot into the finished file. Nothing in it moves.
///
/// # Errors
/// [`MediaError::File`]; [`MediaError::Unwritable`] if the muxer has not left the place that it was told to leave.
pub(super) fn complete(path: &Path, container: Container, marks: &Marks) -> Result<(), MediaError> {
    let failed =
        |error: std::io::Error| MediaError::File { action: "mark", path: path.to_owned(), reason: error.to_string() };
    let is_mp4 = match container {
        Container::Mp4 => true,
        Container::Mov => false,
        Container::Matroska | Container::WebM | Container::Picture(_) => return Ok(()),
    };
    let mut file = OpenOptions::new().read(true).write(true).open(path).map_err(failed)?;
    if let Some(aigc) = &marks.aigc {
        let no_room = || MediaError::Unwritable { action: "mark", reason: "no room was left for its label".to_owned() };
        let length = file.metadata().map_err(failed)?.len();
        let at = boxes::find_udta(&mut file, length).map_err(failed)?;
        let at = at.filter(|at| at.length <= UDTA_MAX).ok_or_else(no_room)?;
        let mut before = vec![0; at.length as usize];
        file.seek(SeekFrom::Start(at.start)).and_then(|_| file.read_exact(&mut before)).map_err(failed)?;
        let label = aigc.json();
        let after = Udta(&before).with(Keys { name: AIGC, value: &label }).ok_or_else(no_room)?;
        file.seek(SeekFrom::Start(at.start)).and_then(|_| file.write_all(&after)).map_err(failed)?;
    }
    if is_mp4 {
        let packet = xmp::packet(marks.digital_source_type, None);
        let uuid = boxes::boxed(b"uuid", &[&XMP_UUID, packet.as_bytes()]);
        file.seek(SeekFrom::End(0)).and_then(|_| file.write_all(&uuid)).map_err(failed)?;
    }
    Ok(())
}
