//! Names an encoder exactly enough that the same name means the same bits.

use ffmpeg::format::Pixel;
use ffmpeg::{Packet, codec, frame};
use ffmpeg_next as ffmpeg;

use super::encode::{self, EncodeSettings, Timing};
use super::error::MediaError;
use super::properties::PictureProperties;
use crate::contract::Ratio;

/// The encoder, FFmpeg's codec library and, where it tells, the encoder's own library, e.g.
/// `libx264 lavc59.37.100 x264 - core 164 r3095 baee400`.
///
/// Encodes one small frame to find out, which also shows that the encoder works here: having one by name does not.
///
/// # Errors
/// [`MediaError::EncoderMissing`], [`MediaError::Encode`].
pub fn encoder_version(name: &str) -> Result<String, MediaError> {
    let lavc = format!("{name} {}", library_version());
    let packet = encode_one(name)?;
    Ok(match packet.data().and_then(library) {
        Some(library) => format!("{lavc} {library}"),
        None => lavc,
    })
}

/// FFmpeg's codec library, e.g. `lavc59.37.100`.
pub fn library_version() -> String {
    let libavcodec = codec::version();
    let (major, minor, micro) = (libavcodec >> 16, libavcodec >> 8 & 0xFF, libavcodec & 0xFF);
    format!("lavc{major}.{minor}.{micro}")
}

fn encode_one(name: &str) -> Result<Packet, MediaError> {
    let settings =
        EncodeSettings { encoder: name.to_owned(), preset: "ultrafast".to_owned(), crf: 23, hdr: None, threads: 1 };
    let timing = Timing { time_base: Ratio { num: 1, den: 25 }, frame_rate: Ratio { num: 25, den: 1 } };
    let properties = PictureProperties {
        sample_aspect: (0, 1),
        field_order: 1,
        range: 1,
        matrix: 2,
        transfer: 2,
        primaries: 2,
        chroma_location: 1,
    };
    let mut frame = frame::Video::new(Pixel::YUV420P, 256, 256);
    (0..3).for_each(|plane| frame.data_mut(plane).fill(128));
    frame.set_pts(Some(0));

    let encode::Opened { mut encoder, upload } = encode::open(&settings, timing, &frame, &properties)?;
    let mut packet = Packet::empty();
    let frame = match &upload {
        Some(upload) => upload.frame(&frame),
        None => Ok(frame),
    };
    frame
        .and_then(|frame| encoder.send_frame(&frame))
        .and_then(|()| encoder.send_eof())
        .and_then(|()| encoder.receive_packet(&mut packet))
        .map_err(|error| MediaError::Encode {
            encoder: name.to_owned(),
            action: "encode a test picture".to_owned(),
            reason: error.to_string().to_lowercase(),
        })?;
    Ok(packet)
}

/// x264 and x265 sign their first packet: `x264 - core 164 r3095 baee400 - H.264/MPEG-4 AVC codec - Copyleft …`.
fn library(packet: &[u8]) -> Option<String> {
    let start = [&b"x264 - core "[..], b"x265 (build "]
        .into_iter()
        .find_map(|sign| packet.windows(sign.len()).position(|window| window == sign))?;
    let text = String::from_utf8_lossy(&packet[start..packet.len().min(start + 120)]).into_owned();
    let end = text.find(" - H.26")?;
    Some(text[..end].to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_names_both_libraries() {
        let version = encoder_version("libx264").unwrap();
        assert!(version.starts_with("libx264 lavc"), "{version}");
        assert!(version.contains(" x264 - core "), "{version}");
        assert_eq!(version, encoder_version("libx264").unwrap());
        assert!(matches!(encoder_version("libfoo"), Err(MediaError::EncoderMissing { .. })));
    }
}
