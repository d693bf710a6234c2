//! The video encoders that can be named, what each makes, and how a preset and a quality are said to it.
//!
//! Quality is named on x264's scale throughout (0 is lossless, 18 looks like the source, 51 is worst), presets by x264's
//! names; what an encoder has of its own is mapped here. Measured on SPS/PPS equality; sources: `x264 --fullhelp`,
//! `ffmpeg -h encoder=…`, NVIDIA's preset migration guide.

use ffmpeg::codec;
use ffmpeg::format::Pixel;
use ffmpeg_next as ffmpeg;

use super::encode::EncodeSettings;
use super::error::MediaError;
use super::hdr;
use super::properties::PictureProperties;
use crate::contract::{LOSSLESS, PRESETS};

/// What an encoder needs beside a processor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hardware {
    /// NVIDIA's encoder. Takes frames from memory.
    Nvenc,
    /// Intel Quick Sync. Takes frames from memory.
    Qsv,
    /// Video Acceleration API. Takes frames on the device only.
    Vaapi,
}

/// A known encoder: chunks that it makes are known to join.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Encoder {
    /// FFmpeg's.
    pub name: &'static str,
    pub codec: codec::Id,
    pub hardware: Option<Hardware>,
}

const fn software(name: &'static str, codec: codec::Id) -> Encoder {
    Encoder { name, codec, hardware: None }
}

const fn on(hardware: Hardware, name: &'static str, codec: codec::Id) -> Encoder {
    Encoder { name, codec, hardware: Some(hardware) }
}

/// Of each kind and codec one. Where hardware does not open, the software encoder of the same codec stands in.
const ENCODERS: [Encoder; 9] = [
    software("libx264", codec::Id::H264),
    software("libx265", codec::Id::HEVC),
    software("libsvtav1", codec::Id::AV1),
    on(Hardware::Nvenc, "h264_nvenc", codec::Id::H264),
    on(Hardware::Nvenc, "hevc_nvenc", codec::Id::HEVC),
    on(Hardware::Qsv, "h264_qsv", codec::Id::H264),
    on(Hardware::Qsv, "hevc_qsv", codec::Id::HEVC),
    on(Hardware::Vaapi, "h264_vaapi", codec::Id::H264),
    on(Hardware::Vaapi, "hevc_vaapi", codec::Id::HEVC),
];

/// For results that become a picture; nobody names it.
const LOSSLESS_RGB: Encoder = software(LOSSLESS, codec::Id::FFV1);

impl Encoder {
    /// By FFmpeg's name.
    ///
    /// # Errors
    /// [`MediaError::EncoderMissing`] for one that is not offered, or that this FFmpeg has not.
    pub(super) fn named(name: &str) -> Result<(Self, ffmpeg::Codec), MediaError> {
        let missing = || MediaError::EncoderMissing { name: name.to_owned() };
        let mut all = ENCODERS.into_iter().chain([LOSSLESS_RGB]);
        let known = all.find(|encoder| encoder.name == name).ok_or_else(missing)?;
        Ok((known, ffmpeg::encoder::find_by_name(name).ok_or_else(missing)?))
    }

    /// The software encoder of the same codec.
    pub(super) fn in_software(codec: codec::Id) -> Option<Self> {
        ENCODERS.into_iter().find(|encoder| encoder.codec == codec && encoder.hardware.is_none())
    }

    /// The pixel formats that frames may have; those that hardware wants otherwise are repacked on the way into it.
    pub(super) fn accepted_pixels(&self, codec: ffmpeg::Codec) -> Vec<Pixel> {
        match self.hardware {
            Some(_) => vec![Pixel::YUV420P, Pixel::NV12, Pixel::YUV420P10LE, Pixel::P010LE],
            None => codec.video().ok().and_then(|video| video.formats()).map(Iterator::collect).unwrap_or_default(),
        }
    }

    /// Whether every frame can come out as it went in.
    pub(super) fn is_lossless_at_0(&self) -> bool {
        matches!(self.name, "libx264" | "libx265" | "h264_nvenc" | "hevc_nvenc")
    }

    /// The encoder's private options.
    pub(super) fn options(
        &self,
        settings: &EncodeSettings,
        properties: &PictureProperties,
    ) -> ffmpeg::Dictionary<'static> {
        let mut options = ffmpeg::Dictionary::new();
        let lossless = settings.crf == 0;
        let crf = settings.crf.to_string();
        match self.hardware {
            Some(Hardware::Nvenc) => {
                options.set("preset", &format!("p{}", self.own_preset(&settings.preset)));
                options.set("forced-idr", "1");
                match lossless {
                    true => options.set("tune", "lossless"),
                    false => {
                        options.set("rc", "vbr");
                        options.set("cq", &crf);
                        options.set("b", "0");
                    }
                }
            }
            Some(Hardware::Qsv) => {
                options.set("preset", &self.own_preset(&settings.preset).to_string());
                options.set("global_quality", &crf);
            }
            Some(Hardware::Vaapi) => {
                options.set("rc_mode", "CQP");
                options.set("qp", &crf);
            }
            None => self.software_options(settings, properties, &mut options),
        }
        options
    }

    fn software_options(
        &self,
        settings: &EncodeSettings,
        properties: &PictureProperties,
        options: &mut ffmpeg::Dictionary<'static>,
    ) {
        let (lossless, crf) = (settings.crf == 0, settings.crf.to_string());
        match self.codec {
            codec::Id::AV1 => {
                options.set("preset", &self.own_preset(&settings.preset).to_string());
                options.set("crf", &av1_crf(settings.crf).to_string());
                // A lane has its threads and not all of the machine's.
                let mut parameters = format!("lp={}", settings.threads.max(1));
                if let Some(hdr) = &settings.hdr {
                    hdr.mastering
                        .iter()
                        .for_each(|it| parameters += &format!(":mastering-display={}", hdr::as_numbers(it)));
                    hdr.light.iter().for_each(|[max, mean]| parameters += &format!(":content-light={max},{mean}"));
                }
                options.set("svtav1-params", &parameters);
            }
            codec::Id::HEVC => {
                options.set("preset", &settings.preset);
                let threads = settings.threads.max(1);
                let mut parameters = format!("open-gop=0:log-level=error:info=0:repeat-headers=0:pools={threads}");
                match lossless {
                    true => parameters += ":lossless=1",
                    false => options.set("crf", &crf),
                }
                if let Some(hdr) = &settings.hdr {
                    hdr.mastering
                        .iter()
                        .for_each(|it| parameters += &format!(":master-display={}", hdr::as_counts(it)));
                    hdr.light.iter().for_each(|[max, mean]| parameters += &format!(":max-cll={max},{mean}"));
                }
                options.set("x265-params", &parameters);
            }
            _ => {
                options.set("preset", &settings.preset);
                // `crf 0` loses nothing at 8 bits only; `qp 0` never does.
                match lossless {
                    true => options.set("qp", "0"),
                    false => options.set("crf", &crf),
                }
                // `stitchable` keeps what rate control chose out of the PPS, so that chunks share it.
                let mut parameters = "open-gop=0:stitchable=1:sliced-threads=0".to_owned();
                if properties.interlaced() {
                    parameters += if properties.top_field_first() { ":tff=1" } else { ":bff=1" };
                }
                if let Some(hdr) = &settings.hdr {
                    hdr.mastering
                        .iter()
                        .for_each(|it| parameters += &format!(":mastering-display={}", hdr::as_counts(it)));
                    hdr.light.iter().for_each(|[max, mean]| parameters += &format!(":cll={max},{mean}"));
                }
                options.set("x264-params", &parameters);
            }
        }
    }

    /// The encoder's number for one of x264's presets.
    fn own_preset(&self, preset: &str) -> u8 {
        let slowness = PRESETS.iter().position(|known| *known == preset).unwrap_or(5);
        match (self.hardware, self.codec) {
            // p1, fastest, to p7.
            (Some(Hardware::Nvenc), _) => [1, 1, 2, 3, 4, 4, 5, 6, 7, 7][slowness],
            // 7, fastest, to 1.
            (Some(_), _) => [7, 7, 7, 6, 5, 4, 3, 2, 1, 1][slowness],
            // 12, fastest, to 2.
            (None, _) => [12, 11, 10, 9, 8, 7, 6, 5, 4, 2][slowness],
        }
    }
}

/// SVT-AV1 counts to 63 where x264 counts to 51.
fn av1_crf(crf: u8) -> u8 {
    (f64::from(crf) * 63.0 / 51.0).round() as u8
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract;

    #[test]
    fn the_contract_offers_what_is_known_here() {
        let known: Vec<&str> = ENCODERS.iter().map(|encoder| encoder.name).collect();
        let offered: Vec<&str> = contract::ENCODERS.iter().copied().filter(|name| *name != contract::AUTO).collect();
        assert_eq!(known, offered);
        assert!(matches!(Encoder::named("libfoo"), Err(MediaError::EncoderMissing { .. })));
        assert!(matches!(Encoder::named("mpeg4"), Err(MediaError::EncoderMissing { .. })), "not known to join");
    }

    #[test]
    fn every_hardware_encoder_has_a_stand_in() {
        for encoder in ENCODERS {
            let stand_in = Encoder::in_software(encoder.codec).expect(encoder.name);
            assert_eq!((stand_in.codec, stand_in.hardware), (encoder.codec, None));
        }
    }

    #[test]
    fn presets_and_quality_reach_the_ends_of_each_scale() {
        for (encoder, fastest, slowest) in [(2, 12, 2), (3, 1, 7), (5, 7, 1)] {
            let encoder = ENCODERS[encoder];
            let ends = [encoder.own_preset("ultrafast"), encoder.own_preset("placebo")];
            assert_eq!(ends, [fastest, slowest], "{}", encoder.name);
        }
        assert_eq!([av1_crf(0), av1_crf(18), av1_crf(51)], [0, 22, 63]);
    }
}
