//! Which encoder a clip gets: the one that was asked for, the one that stands in for it, or with `auto` the clip's own.

use ffmpeg::codec;
use ffmpeg_next as ffmpeg;
use tracing::debug;

use super::container::Container;
use super::encoders::Encoder;
use super::error::MediaError;
use super::pixels::pixel_path;
use super::version::encoder_version;
use crate::contract::AUTO;

/// Encoders of one kind are used for a whole clip: chunks of different ones do not join.
#[derive(Clone, Debug)]
pub struct EncoderWish<'a> {
    /// One of [`crate::contract::ENCODERS`].
    pub name: &'a str,
    /// 0 is lossless.
    pub crf: u8,
    /// Of the clip, by FFmpeg's name.
    pub codec: &'a str,
    /// Of the clip, by FFmpeg's name.
    pub pixel_format: &'a str,
    /// Its frames are looked at ([`crate::frame::Pixels`]) before they are encoded.
    pub looked_at: bool,
    /// What the output is.
    pub container: Container,
    /// Which encoders in hardware there are.
    pub hardware: &'a HardwareEncoders,
}

/// Which encoders in hardware may be chosen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HardwareEncoders {
    /// Those that open in this process.
    Tried,
    /// Those that the operator says every worker has; by FFmpeg's names.
    Listed(Vec<String>),
}

/// What a clip gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChosenEncoder {
    /// FFmpeg's name; never `auto`.
    pub name: String,
    /// What its owner should know, if it is not what was asked for or does not keep everything.
    pub warning: Option<String>,
}

/// Chooses, and tries what hardware it chooses.
///
/// # Errors
/// Why the encoder that was asked for cannot be used, with what can: [`MediaError::EncoderMissing`],
/// [`MediaError::UnsupportedPixels`], [`MediaError::EncoderAndContainer`], [`MediaError::NotLossless`].
pub fn choose_encoder(wish: &EncoderWish<'_>) -> Result<ChosenEncoder, MediaError> {
    let candidates = candidates(wish)?;
    let mut refusals = Vec::new();
    for (place, candidate) in candidates.iter().enumerate() {
        match usable(wish, candidate) {
            Ok(lost) => {
                let refusal = refusals.first().filter(|_| wish.name != AUTO);
                let instead = refusal.map(|refusal| format!("{refusal}; {} is used", candidate.name));
                let lost = lost.map(|lost| format!("pixel format {} is converted and loses {lost}", wish.pixel_format));
                let warning = instead.into_iter().chain(lost).reduce(|a, b| format!("{a}; {b}"));
                debug!(encoder = candidate.name, place, "chosen");
                return Ok(ChosenEncoder { name: candidate.name.to_owned(), warning });
            }
            Err(refusal) => refusals.push(refusal),
        }
    }
    // Of `auto`, what the most general one says; else why the one that was asked for is not used.
    let last = refusals.len().saturating_sub(1);
    Err(refusals.swap_remove(if wish.name == AUTO { last } else { 0 }))
}

/// The encoders to try, in the order of preference; not empty.
fn candidates(wish: &EncoderWish<'_>) -> Result<Vec<Encoder>, MediaError> {
    if wish.name != AUTO {
        let (named, _) = Encoder::named(wish.name)?;
        let stand_in = named.hardware.and(Encoder::in_software(named.codec));
        return Ok([named].into_iter().chain(stand_in).collect());
    }
    let own = match wish.codec {
        "h264" => Some(codec::Id::H264),
        "hevc" => Some(codec::Id::HEVC),
        "av1" => Some(codec::Id::AV1),
        _ => None,
    };
    // Few players show H.264 of more than 8 bits.
    let usual = match bits(wish.pixel_format) {
        ..=8 => [codec::Id::H264, codec::Id::HEVC, codec::Id::AV1],
        _ => [codec::Id::HEVC, codec::Id::H264, codec::Id::AV1],
    };
    let mut candidates: Vec<Encoder> = own.into_iter().chain(usual).filter_map(Encoder::in_software).collect();
    let mut seen = Vec::new();
    candidates.retain(|candidate| {
        !seen.contains(&candidate.name) && {
            seen.push(candidate.name);
            true
        }
    });
    Ok(candidates)
}

/// What is lost of the clip's pixels on the way into the candidate.
fn usable(wish: &EncoderWish<'_>, candidate: &Encoder) -> Result<Option<&'static str>, MediaError> {
    let encoder = candidate.name.to_owned();
    if !wish.container.holds(candidate.codec) {
        let container = wish.container.muxer().to_owned();
        return Err(MediaError::EncoderAndContainer { encoder, container, expected: makers_for(wish.container) });
    }
    let lost = pixel_path(wish.pixel_format, candidate.name, wish.looked_at)?.lost;
    if wish.crf == 0 && !candidate.is_lossless_at_0() {
        return Err(MediaError::NotLossless { encoder });
    }
    match (candidate.hardware, wish.hardware) {
        (None, _) => Ok(lost),
        (Some(_), HardwareEncoders::Tried) => encoder_version(candidate.name).map(|_| lost),
        (Some(_), HardwareEncoders::Listed(there)) if there.contains(&encoder) => Ok(lost),
        (Some(_), HardwareEncoders::Listed(_)) => {
            let reason = "it is not among worker.hardware_encoders".to_owned();
            Err(MediaError::Hardware { encoder, reason })
        }
    }
}

/// The software encoders whose video a container holds.
fn makers_for(container: Container) -> String {
    let all = [codec::Id::H264, codec::Id::HEVC, codec::Id::AV1];
    let makers = all.into_iter().filter(|codec| container.holds(*codec)).filter_map(Encoder::in_software);
    makers.map(|maker| maker.name).collect::<Vec<_>>().join(", ")
}

/// Bits of a sample; 8 for a format that FFmpeg does not know.
fn bits(pixel_format: &str) -> i32 {
    let Ok(name) = std::ffi::CString::new(pixel_format) else { return 8 };
    // SAFETY: the name is a string of C's; the descriptor is a constant of FFmpeg's, or null.
    unsafe {
        let format = ffmpeg::ffi::av_get_pix_fmt(name.as_ptr());
        ffmpeg::ffi::av_pix_fmt_desc_get(format).as_ref().map_or(8, |known| known.comp[0].depth)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wish<'a>(name: &'a str, codec: &'a str, pixel_format: &'a str) -> EncoderWish<'a> {
        EncoderWish {
            name,
            crf: 18,
            codec,
            pixel_format,
            looked_at: true,
            container: Container::Mp4,
            hardware: &HardwareEncoders::Tried,
        }
    }

    #[test]
    fn auto_keeps_the_codec_and_the_depth() {
        for (codec, pixels, container, expected) in [
            ("h264", "yuv420p", Container::Mp4, "libx264"),
            ("h264", "yuv422p10le", Container::Mov, "libx264"),
            ("hevc", "yuv420p10le", Container::Mp4, "libx265"),
            ("hevc", "yuv420p", Container::Matroska, "libx265"),
            ("av1", "yuv420p10le", Container::Mp4, "libsvtav1"),
            ("av1", "yuv444p", Container::Mp4, "libx264"), // SVT-AV1 makes 4:2:0 only
            ("prores", "yuv422p10le", Container::Mov, "libx265"),
            ("vp9", "yuv420p12le", Container::Matroska, "libx265"),
            ("mpeg2video", "yuv420p", Container::Mp4, "libx264"),
            ("h264", "yuv420p", Container::WebM, "libsvtav1"),
            ("dvvideo", "yuv411p", Container::Mp4, "libx264"),
            ("rawvideo", "yuyv422", Container::Mov, "libx264"),
        ] {
            let chosen = choose_encoder(&EncoderWish { container, ..wish(AUTO, codec, pixels) }).unwrap();
            assert_eq!((chosen.name.as_str(), chosen.warning), (expected, None), "{codec} {pixels} {container:?}");
        }
        let lossless = EncoderWish { crf: 0, ..wish(AUTO, "av1", "yuv420p") };
        assert_eq!(choose_encoder(&lossless).unwrap().name, "libx264");
    }

    #[test]
    fn what_pixels_lose_is_told() {
        for (pixels, looked_at, expected) in [
            ("nv12", true, None),
            ("yuva420p", true, Some("pixel format yuva420p is converted and loses transparency")),
            ("rgb24", true, Some("pixel format rgb24 is converted and loses exact colours (RGB is rounded to YUV)")),
            ("gbrp", true, None),
        ] {
            let chosen = choose_encoder(&EncoderWish { looked_at, ..wish("libx265", "hevc", pixels) }).unwrap();
            assert_eq!(chosen.warning.as_deref(), expected, "{pixels} {looked_at}");
        }
    }

    #[test]
    fn hardware_that_is_not_there_is_stood_in_for_aloud() {
        let none = HardwareEncoders::Listed(Vec::new());
        let some = HardwareEncoders::Listed(vec!["hevc_nvenc".to_owned()]);
        for (name, hardware, expected, is_told) in [
            ("h264_nvenc", &none, "libx264", true),
            ("hevc_vaapi", &none, "libx265", true),
            ("hevc_nvenc", &some, "hevc_nvenc", false),
            ("hevc_qsv", &some, "libx265", true),
            ("libx265", &some, "libx265", false),
        ] {
            let chosen = choose_encoder(&EncoderWish { hardware, ..wish(name, "h264", "yuv420p") }).unwrap();
            assert_eq!((chosen.name.as_str(), chosen.warning.is_some()), (expected, is_told), "{chosen:?}");
        }
    }

    #[test]
    fn what_cannot_be_made_is_refused_with_what_can() {
        let refused = |wish: EncoderWish<'_>| {
            let error = choose_encoder(&wish).unwrap_err();
            format!("{error}, not {}", error.expected())
        };
        let webm = EncoderWish { container: Container::WebM, ..wish("libx264", "h264", "yuv420p") };
        assert_eq!(refused(webm), "webm cannot hold what libx264 makes, not one of libsvtav1");
        let lossless = EncoderWish { crf: 0, ..wish("libsvtav1", "h264", "yuv420p") };
        assert!(refused(lossless).starts_with("libsvtav1 cannot be lossless, not crf 1"));
        assert!(refused(wish("libsvtav1", "h264", "yuv444p")).contains("does not encode pixel format yuv444p"));
        assert!(refused(wish(AUTO, "h264", "xyz12le")).contains("xyz12le"));
    }
}
