//! Opens clips as their owners send them.
//!
//! FFmpeg never opens a path itself. It reads from a file that we opened, may only use the demuxers listed here, and no
//! protocol: a playlist renamed `.mp4` reaches nothing.

use std::fs::File;
use std::io;
use std::path::Path;

use ffmpeg::format::context::{Input, StreamIo};
use ffmpeg::{Discard, Packet, ffi};
use ffmpeg_next as ffmpeg;

use super::error::MediaError;
use super::integrity;

/// Demuxers by FFmpeg's names. The audio formats are there to be told apart from what is no media at all.
const CLIP_FORMATS: &str =
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,mpegts,mpeg,nut,avi,flv,ogg,h264,hevc,mp3,wav,flac,aac";

/// Bytes read at once: packets of a video at usual rates, and not much thrown away when audio lies between.
pub(super) const READ_BUFFER: usize = 64 * 1024;

/// Damaged packets in a row after which a file counts as unreadable.
const DAMAGED_IN_A_ROW: u32 = 256;

/// Opens a clip and learns about its streams.
pub(super) fn open_clip(path: &Path) -> Result<Input, MediaError> {
    open(path, false)
}

/// Opens a clip with its XMP, which would otherwise be read for nothing: it may be long.
pub(super) fn open_to_read_tags(path: &Path) -> Result<Input, MediaError> {
    open(path, true)
}

fn open(path: &Path, with_xmp: bool) -> Result<Input, MediaError> {
    let unreadable = |source: io::Error| MediaError::Unreadable { path: path.to_owned(), source };
    let file = File::open(path).map_err(unreadable)?;
    let status = file.metadata().map_err(unreadable)?;
    if status.is_dir() {
        return Err(unreadable(io::Error::from(io::ErrorKind::IsADirectory)));
    }
    if status.len() == 0 {
        return Err(MediaError::Empty { path: path.to_owned() });
    }

    let mut options = ffmpeg::Dictionary::new();
    options.set("format_whitelist", CLIP_FORMATS);
    options.set("protocol_whitelist", "file");
    if with_xmp {
        options.set("export_xmp", "1");
    }
    let opened = StreamIo::from_read_seek_with_capacity(file, READ_BUFFER)
        .and_then(|io| ffmpeg::format::input_from_stream(io, None, Some(options)));
    match opened {
        Ok(input) => Ok(input),
        Err(error) => Err(match integrity::cut_off(path).map_err(unreadable)? {
            Some(detail) => MediaError::Truncated { path: path.to_owned(), detail, last_good: None },
            None => MediaError::NotVideo { path: path.to_owned(), reason: reason(error) },
        }),
    }
}

/// Reads the next packet, stepping over damaged ones. `None`: the file ends.
pub(super) fn next_packet(input: &mut Input) -> Result<Option<Packet>, ffmpeg::Error> {
    let mut damaged = 0;
    loop {
        let mut packet = Packet::empty();
        match packet.read(input) {
            Ok(()) => return Ok(Some(packet)),
            Err(ffmpeg::Error::Eof) => return Ok(None),
            Err(ffmpeg::Error::InvalidData) if damaged < DAMAGED_IN_A_ROW => damaged += 1,
            Err(error) => return Err(error),
        }
    }
}

/// Whether a failure to read lies in the file's device, and not in its content.
pub(super) fn is_unreadable(input: &Input) -> bool {
    // SAFETY: the context and what it reads from live as long as `input`.
    let error = unsafe { (*input.as_ptr()).pb.as_ref() }.map_or(0, |io| io.error);
    error != 0 && ffmpeg::Error::from(error) != ffmpeg::Error::Eof
}

/// Makes the demuxer pass over every stream that `wanted` does not name.
pub(super) fn read_only(input: &mut Input, wanted: impl Fn(usize) -> bool) {
    for mut stream in input.streams_mut() {
        if wanted(stream.index()) {
            continue;
        }
        // SAFETY: the stream belongs to `input`, which nothing else uses meanwhile.
        unsafe { (*stream.as_mut_ptr()).discard = Discard::All.into() };
    }
}

/// Decoded because others need it, but cut off by an edit list.
pub(super) fn is_hidden(packet: &Packet) -> bool {
    use ffmpeg::packet::Ref as _;
    // SAFETY: the packet is valid as long as it is borrowed.
    unsafe { (*packet.as_ptr()).flags & ffi::AV_PKT_FLAG_DISCARD != 0 }
}

/// What FFmpeg says about a failure, without the noise of its numbers.
pub(super) fn reason(error: ffmpeg::Error) -> String {
    match error {
        ffmpeg::Error::InvalidData => "no known container in it".to_owned(),
        other => other.to_string().to_lowercase(),
    }
}
