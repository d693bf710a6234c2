//! For which screen a clip was made: read from the container, or where it does not say from the first picture; and written to
//! encoders and containers.

use std::path::Path;

use ffmpeg::packet::side_data;
use ffmpeg::{Packet, codec, ffi, frame};
use ffmpeg_next as ffmpeg;

use super::error::MediaError;
use super::input;
use super::properties::PictureProperties;
use crate::contract::{Hdr, Mastering};

/// Chromaticities are counted in these.
const CHROMATICITY: i32 = 50_000;
/// Luminances are counted in these.
const LUMINANCE: i32 = 10_000;
/// H.273 TransferCharacteristics of the perceptual quantizer and of hybrid log-gamma: the only ones that are looked into.
const HIGH_RANGE: [i32; 2] = [16, 18];
/// Packets within which the first picture comes out, or does not.
const PACKETS_MAX: usize = 64;

/// As in FFmpeg's `libavutil/mastering_display_meta.h`, of which there are no bindings; fields are only ever added at its end.
#[repr(C)]
struct MasteringDisplayMetadata {
    display_primaries: [[ffi::AVRational; 2]; 3],
    white_point: [ffi::AVRational; 2],
    min_luminance: ffi::AVRational,
    max_luminance: ffi::AVRational,
    has_primaries: std::ffi::c_int,
    has_luminance: std::ffi::c_int,
}

/// As there.
#[repr(C)]
struct ContentLightMetadata {
    max_cll: std::ffi::c_uint,
    max_fall: std::ffi::c_uint,
}

/// What the clip at `path` says; nothing for one whose transfer is not of high dynamic range.
///
/// # Errors
/// As [`super::probe()`] for a file that cannot be opened.
pub(super) fn of_clip(path: &Path, index: usize) -> Result<Option<Hdr>, MediaError> {
    let mut input = input::open_clip(path)?;
    let Some(stream) = input.stream(index) else { return Ok(None) };
    // SAFETY: the stream lives as long as `input`.
    let properties = unsafe { PictureProperties::of_stream(stream.as_ptr()) };
    if !HIGH_RANGE.contains(&properties.transfer) {
        return Ok(None);
    }
    let mut hdr = Hdr::default();
    for data in stream.side_data() {
        match data.kind() {
            side_data::Type::MasteringDisplayMetadata => hdr.mastering = mastering(data.data()),
            side_data::Type::ContentLightLevel => hdr.light = light(data.data()),
            _ => {}
        }
    }
    let parameters = stream.parameters();
    if hdr.mastering.is_none() || hdr.light.is_none() {
        input::read_only(&mut input, |other| other == index);
        let shown = codec::Context::from_parameters(parameters).and_then(|context| context.decoder().video());
        if let Some(first) = shown.ok().and_then(|mut decoder| first_frame(&mut input, index, &mut decoder)) {
            let data = |kind| first.side_data(kind).map(|data| data.data().to_vec());
            let of_frame = |kind, parse: fn(&[u8]) -> Option<_>| data(kind).as_deref().and_then(parse);
            hdr.mastering = hdr.mastering.or(of_frame(frame::side_data::Type::MasteringDisplayMetadata, mastering));
            let of_frame = |kind, parse: fn(&[u8]) -> Option<_>| data(kind).as_deref().and_then(parse);
            hdr.light = hdr.light.or(of_frame(frame::side_data::Type::ContentLightLevel, light));
        }
    }
    Ok(Some(hdr).filter(|hdr| !hdr.is_empty()))
}

fn first_frame(
    input: &mut ffmpeg::format::context::Input,
    index: usize,
    decoder: &mut ffmpeg::decoder::Video,
) -> Option<frame::Video> {
    let mut frame = frame::Video::empty();
    for _ in 0..PACKETS_MAX {
        let packet: Option<Packet> = input::next_packet(input).ok()?;
        let is_last = packet.is_none();
        match &packet {
            Some(packet) if packet.stream() != index => continue,
            Some(packet) => decoder.send_packet(packet).ok()?,
            None => decoder.send_eof().ok()?,
        }
        if decoder.receive_frame(&mut frame).is_ok() {
            return Some(frame);
        }
        if is_last {
            return None;
        }
    }
    None
}

fn mastering(data: &[u8]) -> Option<Mastering> {
    // SAFETY: FFmpeg's side data of this kind begins with this structure; its size is checked, and the copy may lie anywhere.
    let found = (data.len() >= size_of::<MasteringDisplayMetadata>())
        .then(|| unsafe { data.as_ptr().cast::<MasteringDisplayMetadata>().read_unaligned() })?;
    if found.has_primaries == 0 || found.has_luminance == 0 {
        return None;
    }
    let place = |[x, y]: [ffi::AVRational; 2]| [counted(x, CHROMATICITY), counted(y, CHROMATICITY)];
    let [red, green, blue] = found.display_primaries.map(place);
    let luminance = [found.min_luminance, found.max_luminance].map(|value| counted(value, LUMINANCE));
    Some(Mastering { red, green, blue, white: place(found.white_point), luminance })
}

fn light(data: &[u8]) -> Option<[u32; 2]> {
    // SAFETY: as above.
    let found = (data.len() >= size_of::<ContentLightMetadata>())
        .then(|| unsafe { data.as_ptr().cast::<ContentLightMetadata>().read_unaligned() })?;
    Some([found.max_cll, found.max_fall])
}

fn counted(value: ffi::AVRational, parts: i32) -> u32 {
    if value.den <= 0 {
        return 0;
    }
    (f64::from(value.num) * f64::from(parts) / f64::from(value.den)).round().clamp(0.0, f64::from(u32::MAX)) as u32
}

fn parts(value: u32, parts: i32) -> ffi::AVRational {
    ffi::AVRational { num: i32::try_from(value).unwrap_or(i32::MAX), den: parts }
}

/// Says it to a container, where its source has not said it already.
///
/// # Safety
/// `stream` must be valid.
pub(super) unsafe fn mark_stream(hdr: &Hdr, stream: *mut ffi::AVStream) {
    let said = |kind| {
        // SAFETY: valid by contract; the size is not asked for.
        unsafe { !ffi::av_stream_get_side_data(stream, kind, std::ptr::null_mut()).is_null() }
    };
    let kind = ffi::AVPacketSideDataType::AV_PKT_DATA_MASTERING_DISPLAY_METADATA;
    if let Some(screen) = hdr.mastering.filter(|_| !said(kind)) {
        let place = |[x, y]: [u32; 2]| [parts(x, CHROMATICITY), parts(y, CHROMATICITY)];
        let [darkest, brightest] = screen.luminance.map(|value| parts(value, LUMINANCE));
        let data = MasteringDisplayMetadata {
            display_primaries: [screen.red, screen.green, screen.blue].map(place),
            white_point: place(screen.white),
            min_luminance: darkest,
            max_luminance: brightest,
            has_primaries: 1,
            has_luminance: 1,
        };
        // SAFETY: valid by contract.
        unsafe { add(stream, kind, data) };
    }
    let kind = ffi::AVPacketSideDataType::AV_PKT_DATA_CONTENT_LIGHT_LEVEL;
    if let Some([brightest, average]) = hdr.light.filter(|_| !said(kind)) {
        // SAFETY: valid by contract.
        unsafe { add(stream, kind, ContentLightMetadata { max_cll: brightest, max_fall: average }) };
    }
}

/// # Safety
/// `stream` must be valid, and side data of this kind a `T`.
unsafe fn add<T>(stream: *mut ffi::AVStream, kind: ffi::AVPacketSideDataType, data: T) {
    // SAFETY: FFmpeg allocates as many bytes as are written, aligned for any type, or returns null.
    unsafe {
        let room = ffi::av_stream_new_side_data(stream, kind, size_of::<T>() as _).cast::<T>();
        if !room.is_null() {
            room.write(data);
        }
    }
}

/// `G(x,y)B(x,y)R(x,y)WP(x,y)L(max,min)` as x264 and x265 want it: counts.
pub(super) fn as_counts(screen: &Mastering) -> String {
    let place = |[x, y]: [u32; 2]| format!("({x},{y})");
    let [darkest, brightest] = screen.luminance;
    let Mastering { red, green, blue, white, .. } = *screen;
    format!("G{}B{}R{}WP{}L({brightest},{darkest})", place(green), place(blue), place(red), place(white))
}

/// The same as SVT-AV1 wants it: numbers.
pub(super) fn as_numbers(screen: &Mastering) -> String {
    let number = |value: u32, parts: i32| f64::from(value) / f64::from(parts);
    let place = |[x, y]: [u32; 2]| format!("({:.5},{:.5})", number(x, CHROMATICITY), number(y, CHROMATICITY));
    let [darkest, brightest] = screen.luminance.map(|value| number(value, LUMINANCE));
    let Mastering { red, green, blue, white, .. } = *screen;
    format!("G{}B{}R{}WP{}L({brightest:.4},{darkest:.4})", place(green), place(blue), place(red), place(white))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encoders_are_told_in_their_own_words() {
        let screen = Mastering {
            red: [34_000, 16_000],
            green: [13_250, 34_500],
            blue: [7_500, 3_000],
            white: [15_635, 16_450],
            luminance: [50, 10_000_000],
        };
        let counts = "G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)L(10000000,50)";
        assert_eq!(as_counts(&screen), counts);
        let numbers = "G(0.26500,0.69000)B(0.15000,0.06000)R(0.68000,0.32000)WP(0.31270,0.32900)L(1000.0000,0.0050)";
        assert_eq!(as_numbers(&screen), numbers);
    }
}
