//! What becomes of a source's streams in an output of one container, and why.

use std::fmt;
use std::path::Path;

use ffmpeg::format::context::Input;
use ffmpeg::format::stream::Disposition;
use ffmpeg::{Stream, codec, ffi, media};
use ffmpeg_next as ffmpeg;
use serde::Serialize;

use super::container::Container;
use super::convert::can_convert;
use super::error::MediaError;
use super::{input, pictures};

/// What becomes of a source's stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// The video: its place in the output is kept for the joined chunks.
    Video,
    /// The names of the chapters, as MP4 keeps them: chapters are copied by themselves.
    Chapters,
    /// Packet by packet.
    Copied,
    /// Into a file within the file, as Matroska keeps pictures and fonts.
    Attached,
    /// Decoded, and encoded by another codec.
    Converted(codec::Id),
    LeftOut(String),
}

/// A stream beside the video, and what becomes of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct OtherStream {
    /// Its number in the source.
    pub index: usize,
    /// `audio`, `subtitle`, `video`, `data` or `attachment`.
    pub kind: String,
    /// FFmpeg's name.
    pub codec: String,
    /// As the source tags it, e.g. `eng`.
    pub language: Option<String>,
    /// The codec that it has in the output, where the container cannot hold its own; none if it is copied or left out.
    pub converted_to: Option<String>,
    /// Why it is not in the output; none if it is.
    pub left_out: Option<String>,
}

impl OtherStream {
    /// Whether it is in the output just as it is in the source.
    pub fn is_copied(&self) -> bool {
        self.converted_to.is_none() && self.left_out.is_none()
    }
}

impl fmt::Display for OtherStream {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { index, kind, codec, converted_to, left_out, .. } = self;
        write!(out, "stream {index} ({kind}, {codec}): ")?;
        match (converted_to, left_out) {
            (_, Some(reason)) => out.write_str(reason),
            (Some(to), None) => write!(out, "converted to {to}, since the output cannot hold it"),
            (None, None) => out.write_str("copied"),
        }
    }
}

/// What becomes of the streams of `source` beside stream `video`, in an output of this kind.
///
/// # Errors
/// As [`super::probe()`] for a file that cannot be opened.
pub fn other_streams(source: &Path, video: usize, container: Container) -> Result<Vec<OtherStream>, MediaError> {
    if pictures::format_of(source).is_some() {
        return Ok(Vec::new());
    }
    let input = input::open_clip(source)?;
    Ok(others(&input, &fates(&input, video, container)))
}

/// All streams beside the video.
pub(super) fn others(input: &Input, fates: &[Fate]) -> Vec<OtherStream> {
    let with_fates = input.streams().zip(fates).filter(|(_, fate)| !matches!(fate, Fate::Video | Fate::Chapters));
    let other = |(stream, fate): (Stream<'_>, &Fate)| OtherStream {
        index: stream.index(),
        kind: format!("{:?}", stream.parameters().medium()).to_lowercase(),
        codec: stream.parameters().id().name().to_owned(),
        language: stream.metadata().get("language").map(str::to_owned),
        converted_to: match fate {
            Fate::Converted(to) => Some(to.name().to_owned()),
            _ => None,
        },
        left_out: match fate {
            Fate::LeftOut(reason) => Some(reason.clone()),
            _ => None,
        },
    };
    with_fates.map(other).collect()
}

/// Of every stream, in the source's order.
pub(super) fn fates(input: &Input, video: usize, container: Container) -> Vec<Fate> {
    input.streams().map(|stream| if stream.index() == video { Fate::Video } else { fate(&stream, container) }).collect()
}

fn fate(stream: &Stream<'_>, container: Container) -> Fate {
    let parameters = stream.parameters();
    let (medium, codec) = (parameters.medium(), parameters.id());
    let leave = |why: &str| Fate::LeftOut(why.to_owned());
    if medium == media::Type::Data && is_read_by_demuxer(stream) {
        return Fate::Chapters;
    }
    let has_attachments = container == Container::Matroska;
    match medium {
        _ if is_cover(stream) && has_attachments => return Fate::Attached,
        media::Type::Attachment if has_attachments => return Fate::Attached,
        media::Type::Audio | media::Type::Subtitle => {}
        _ if is_cover(stream) => {}
        _ => return leave("only audio, subtitles, cover art and Matroska's attachments are kept"),
    }
    if container.holds(codec) && !(container == Container::WebM && is_cover(stream)) {
        return Fate::Copied;
    }
    match conversion(medium, codec, container) {
        Some(to) if can_convert(codec, to) => Fate::Converted(to),
        _ => leave(&format!("{} cannot hold it", container.muxer())),
    }
}

/// The codec in which a container can hold sound or text of another one.
fn conversion(medium: media::Type, codec: codec::Id, container: Container) -> Option<codec::Id> {
    match (medium, container) {
        (media::Type::Audio, Container::WebM) => Some(codec::Id::OPUS),
        (media::Type::Audio, _) => Some(codec::Id::AAC),
        (media::Type::Subtitle, _) if !is_text(codec) => None,
        (media::Type::Subtitle, Container::Mp4 | Container::Mov) => Some(codec::Id::MOV_TEXT),
        (media::Type::Subtitle, Container::Matroska) => Some(codec::Id::SUBRIP),
        (media::Type::Subtitle, Container::WebM) => Some(codec::Id::WEBVTT),
        _ => None,
    }
}

/// Whether the demuxer has taken for itself what is in the stream, before anybody asked for packets.
fn is_read_by_demuxer(stream: &Stream<'_>) -> bool {
    // SAFETY: the stream lives as long as its input.
    unsafe { (*stream.as_ptr()).discard == ffi::AVDiscard::AVDISCARD_ALL }
}

/// Subtitles that are letters, and not pictures of letters.
fn is_text(codec: codec::Id) -> bool {
    // SAFETY: the descriptor is a constant of FFmpeg's, or null.
    let descriptor = unsafe { ffi::avcodec_descriptor_get(codec.into()).as_ref() };
    descriptor.is_some_and(|known| known.props as u32 & ffi::AV_CODEC_PROP_TEXT_SUB as u32 != 0)
}

/// A picture of the whole clip: one packet, which is shown at no time.
pub(super) fn is_cover(stream: &Stream<'_>) -> bool {
    stream.disposition().contains(Disposition::ATTACHED_PIC)
}
