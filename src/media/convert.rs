//! Sound and subtitles whose codec the output's container cannot hold, made anew in one that it can. Times stay.

use ffmpeg::{ChannelLayout, Packet, Stream, codec, ffi, filter, frame};
use ffmpeg_next as ffmpeg;

/// Bit rate of AAC, for each channel: beyond what listeners tell from the source.
const AAC_BITS_PER_CHANNEL: usize = 128_000;
/// Bit rate of Opus, for each channel: likewise.
const OPUS_BITS_PER_CHANNEL: usize = 96_000;
/// Room for one subtitle as it is written, bytes.
const SUBTITLE_MAX: usize = 64 * 1024;

/// The encoder of a codec that sound or subtitles are converted to, by FFmpeg's name where it has several.
fn encoder_of(codec: codec::Id) -> Result<ffmpeg::Codec, ffmpeg::Error> {
    let found = match codec {
        codec::Id::OPUS => ffmpeg::encoder::find_by_name("libopus"),
        other => ffmpeg::encoder::find(other),
    };
    found.ok_or(ffmpeg::Error::EncoderNotFound)
}

/// Whether this FFmpeg can read the one and write the other.
pub(super) fn can_convert(from: codec::Id, to: codec::Id) -> bool {
    ffmpeg::decoder::find(from).is_some() && encoder_of(to).is_ok()
}

/// Makes a stream anew.
pub(super) enum Converter {
    Audio(Box<AudioConverter>),
    Subtitle(Box<SubtitleConverter>),
}

impl Converter {
    pub(super) fn open(source: &Stream<'_>, to: codec::Id) -> Result<Self, ffmpeg::Error> {
        match source.parameters().medium() {
            ffmpeg::media::Type::Audio => Ok(Self::Audio(Box::new(AudioConverter::open(source, to)?))),
            _ => Ok(Self::Subtitle(Box::new(SubtitleConverter::open(source, to)?))),
        }
    }

    /// Of the stream that comes out.
    pub(super) fn parameters(&self) -> codec::Parameters {
        match self {
            Self::Audio(audio) => codec::Parameters::from(&audio.encoder),
            Self::Subtitle(subtitle) => codec::Parameters::from(&*subtitle.encoder),
        }
    }

    /// Seconds per tick of the packets that come out.
    pub(super) fn base(&self) -> ffmpeg::Rational {
        match self {
            Self::Audio(audio) => audio.base,
            Self::Subtitle(subtitle) => subtitle.base,
        }
    }

    /// The packets that are ready after this one. One that cannot be decoded is passed over; silence takes the place of sound.
    pub(super) fn push(&mut self, packet: &Packet) -> Result<Vec<Packet>, ffmpeg::Error> {
        match self {
            Self::Audio(audio) => audio.push(packet),
            Self::Subtitle(subtitle) => Ok(subtitle.push(packet)?.into_iter().collect()),
        }
    }

    /// What is left.
    pub(super) fn finish(&mut self) -> Result<Vec<Packet>, ffmpeg::Error> {
        match self {
            Self::Audio(audio) => audio.finish(),
            Self::Subtitle(_) => Ok(Vec::new()),
        }
    }
}

pub(super) struct AudioConverter {
    decoder: codec::decoder::Audio,
    /// Resamples where that is needed, fills gaps with silence, and hands on as many samples as the encoder takes at once.
    graph: filter::Graph,
    encoder: codec::encoder::audio::Encoder,
    base: ffmpeg::Rational,
    is_finished: bool,
}

impl AudioConverter {
    fn open(source: &Stream<'_>, to: codec::Id) -> Result<Self, ffmpeg::Error> {
        let mut decoder = codec::Context::from_parameters(source.parameters())?.decoder().audio()?;
        decoder.set_packet_time_base(source.time_base());
        let layout = match decoder.channel_layout() {
            unknown if unknown.is_empty() => ChannelLayout::default(i32::from(decoder.channels())),
            known => known,
        };

        let codec = encoder_of(to)?.audio()?;
        let rates: Vec<i32> = codec.rates().map(Iterator::collect).unwrap_or_default();
        let rate = nearest_rate(decoder.rate() as i32, &rates);
        let layouts: Vec<ChannelLayout> = codec.channel_layouts().map(Iterator::collect).unwrap_or_default();
        let target_layout = match layouts.is_empty() || layouts.contains(&layout) {
            true => layout,
            false => codec.channel_layouts().map_or(layout, |known| known.best(layout.channels())),
        };
        let format = codec.formats().and_then(|mut formats| formats.next()).ok_or(ffmpeg::Error::InvalidData)?;
        let per_channel = if to == codec::Id::OPUS { OPUS_BITS_PER_CHANNEL } else { AAC_BITS_PER_CHANNEL };

        let mut encoder = codec::Context::new_with_codec(*codec).encoder().audio()?;
        encoder.set_rate(rate);
        encoder.set_format(format);
        encoder.set_channel_layout(target_layout);
        encoder.set_channels(target_layout.channels());
        encoder.set_bit_rate(per_channel * target_layout.channels() as usize);
        encoder.set_time_base((1, rate));
        encoder.set_flags(codec::Flags::GLOBAL_HEADER | codec::Flags::BITEXACT);
        let encoder = encoder.open_as(codec)?;

        let base = source.time_base();
        let from = format!(
            "time_base={}/{}:sample_rate={}:sample_fmt={}:channel_layout=0x{:x}",
            base.numerator(),
            base.denominator(),
            decoder.rate(),
            decoder.format().name(),
            layout.bits()
        );
        let way = format!(
            "aresample=async=1,aformat=sample_fmts={}:sample_rates={rate}:channel_layouts=0x{:x}",
            format.name(),
            target_layout.bits()
        );
        let graph = graph(&from, &way, encoder.frame_size())?;
        Ok(Self { decoder, graph, encoder, base: ffmpeg::Rational::new(1, rate), is_finished: false })
    }

    fn push(&mut self, packet: &Packet) -> Result<Vec<Packet>, ffmpeg::Error> {
        if self.decoder.send_packet(packet).is_err() {
            return Ok(Vec::new());
        }
        self.drain_decoder()?;
        self.encode_ready()
    }

    fn finish(&mut self) -> Result<Vec<Packet>, ffmpeg::Error> {
        if std::mem::replace(&mut self.is_finished, true) {
            return Ok(Vec::new());
        }
        self.decoder.send_eof()?;
        self.drain_decoder()?;
        self.source()?.source().flush()?;
        let mut packets = self.encode_ready()?;
        self.encoder.send_eof()?;
        self.receive(&mut packets)?;
        Ok(packets)
    }

    fn drain_decoder(&mut self) -> Result<(), ffmpeg::Error> {
        let mut decoded = frame::Audio::empty();
        while self.decoder.receive_frame(&mut decoded).is_ok() {
            let shown = decoded.timestamp();
            decoded.set_pts(shown);
            self.source()?.source().add(&decoded)?;
        }
        Ok(())
    }

    fn encode_ready(&mut self) -> Result<Vec<Packet>, ffmpeg::Error> {
        let mut packets = Vec::new();
        let mut ready = frame::Audio::empty();
        loop {
            let mut sink = self.graph.get("out").ok_or(ffmpeg::Error::Bug)?;
            if sink.sink().frame(&mut ready).is_err() {
                return Ok(packets); // more is needed, or nothing more comes
            }
            self.encoder.send_frame(&ready)?;
            self.receive(&mut packets)?;
        }
    }

    fn receive(&mut self, packets: &mut Vec<Packet>) -> Result<(), ffmpeg::Error> {
        loop {
            let mut packet = Packet::empty();
            match self.encoder.receive_packet(&mut packet) {
                Ok(()) => packets.push(packet),
                Err(ffmpeg::Error::Eof | ffmpeg::Error::Other { errno: ffmpeg::error::EAGAIN }) => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    }

    fn source(&mut self) -> Result<filter::Context, ffmpeg::Error> {
        self.graph.get("in").ok_or(ffmpeg::Error::Bug)
    }
}

fn graph(from: &str, way: &str, samples_at_once: u32) -> Result<filter::Graph, ffmpeg::Error> {
    let missing = ffmpeg::Error::FilterNotFound;
    let mut graph = filter::Graph::new();
    graph.add(&filter::find("abuffer").ok_or(missing)?, "in", from)?;
    graph.add(&filter::find("abuffersink").ok_or(missing)?, "out", "")?;
    graph.output("in", 0)?.input("out", 0)?.parse(way)?;
    graph.validate()?;
    if samples_at_once > 0 {
        graph.get("out").ok_or(ffmpeg::Error::Bug)?.sink().set_frame_size(samples_at_once);
    }
    Ok(graph)
}

/// The rate itself, or the next higher one that the encoder has, or its highest.
fn nearest_rate(rate: i32, known: &[i32]) -> i32 {
    if known.is_empty() || known.contains(&rate) {
        return rate;
    }
    let higher = known.iter().copied().filter(|other| *other > rate).min();
    higher.or(known.iter().copied().max()).unwrap_or(rate)
}

pub(super) struct SubtitleConverter {
    decoder: codec::decoder::Subtitle,
    encoder: codec::encoder::subtitle::Encoder,
    base: ffmpeg::Rational,
}

impl SubtitleConverter {
    fn open(source: &Stream<'_>, to: codec::Id) -> Result<Self, ffmpeg::Error> {
        let base = source.time_base();
        let mut decoder = codec::Context::from_parameters(source.parameters())?.decoder().subtitle()?;
        decoder.set_packet_time_base(base);
        let codec = encoder_of(to)?;
        let mut encoder = codec::Context::new_with_codec(codec).encoder().subtitle()?;
        // SAFETY: both contexts are ours and valid. The header, which says how texts look, is copied into memory that FFmpeg
        // frees with the encoder; one byte more keeps it a string of C's.
        unsafe {
            let (from, to) = (decoder.as_ptr(), encoder.as_mut_ptr());
            let size = usize::try_from((*from).subtitle_header_size).unwrap_or(0);
            if size > 0 {
                let header = ffi::av_mallocz(size + 1).cast::<u8>();
                if header.is_null() {
                    return Err(ffmpeg::Error::Other { errno: libc::ENOMEM });
                }
                std::ptr::copy_nonoverlapping((*from).subtitle_header, header, size);
                (*to).subtitle_header = header;
                (*to).subtitle_header_size = (*from).subtitle_header_size;
            }
            (*to).time_base = base.into();
        }
        Ok(Self { decoder, encoder: encoder.open_as(codec)?, base })
    }

    fn push(&mut self, packet: &Packet) -> Result<Option<Packet>, ffmpeg::Error> {
        let mut subtitle = ffmpeg::Subtitle::new();
        if !self.decoder.decode(packet, &mut subtitle).unwrap_or(false) {
            return Ok(None);
        }
        let mut written = vec![0; SUBTITLE_MAX];
        // SAFETY: encoder and subtitle are ours; as many bytes may be written as there is room for. What decoding has
        // allocated is freed once.
        let size = unsafe {
            let room = i32::try_from(SUBTITLE_MAX).unwrap_or(i32::MAX);
            let size =
                ffi::avcodec_encode_subtitle(self.encoder.as_mut_ptr(), written.as_mut_ptr(), room, subtitle.as_ptr());
            ffi::avsubtitle_free(subtitle.as_mut_ptr());
            size
        };
        let size = usize::try_from(size).map_err(|_| ffmpeg::Error::from(size))?;
        if size == 0 {
            return Ok(None);
        }
        let mut converted = Packet::copy(&written[..size]);
        converted.set_pts(packet.pts());
        converted.set_dts(packet.dts().or(packet.pts()));
        converted.set_duration(packet.duration());
        converted.set_flags(codec::packet::Flags::KEY);
        Ok(Some(converted))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_that_an_encoder_has_not_becomes_the_next_higher() {
        for (rate, known, expected) in [
            (44_100, &[][..], 44_100),
            (44_100, &[48_000, 44_100], 44_100),
            (44_100, &[48_000, 24_000], 48_000),
            (192_000, &[96_000, 48_000], 96_000),
        ] {
            assert_eq!(nearest_rate(rate, known), expected, "{rate} {known:?}");
        }
    }

    #[test]
    fn what_is_converted_to_can_be_made_here() {
        for to in [codec::Id::AAC, codec::Id::OPUS, codec::Id::MOV_TEXT, codec::Id::SUBRIP, codec::Id::WEBVTT] {
            assert!(encoder_of(to).is_ok(), "{to:?}");
        }
    }
}
