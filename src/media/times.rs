//! Times for packets to which their container gives none (AVI), or the same one twice.
//!
//! Packets come in decode order. Where there are no presentation times, the codec's own headers say in which order the
//! pictures are shown, and the decode times say when something is.

use std::path::Path;
use std::ptr;

use ffmpeg::{Packet, codec, ffi};
use ffmpeg_next as ffmpeg;

use super::error::MediaError;
use super::input;
use crate::contract::Ratio;

/// How far a frame may be moved so that no two are shown at once, seconds: about what nobody notices against the sound.
const MOVED_AT_MOST: f64 = 0.045;

/// One packet of the video stream, as the container and the codec's headers have it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Untimed {
    pts: Option<i64>,
    dts: Option<i64>,
    /// Decoding can start here.
    key: bool,
    /// Never shown.
    hidden: bool,
    place: Place,
}

/// Where a picture stands in display order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// After all that were decoded before, unless these wait for a [`Place::Between`].
    Next,
    /// Before the last one that is [`Place::Next`]: a B picture of MPEG-1, -2, -4 and VC-1.
    Between,
    /// As H.264 and HEVC count, from the last picture at which decoding can start and counting begins anew.
    Count(i32),
}

/// Presentation times of the first `count` packets of stream `index`, in decode order, those of shown ones all different.
///
/// # Errors
/// [`MediaError::MissingTimes`] where nothing says when pictures are shown, [`MediaError::DuplicateTimes`] where frames
/// would have to be moved too far, [`MediaError::Truncated`].
pub(super) fn made_anew(
    path: &Path,
    index: usize,
    time_base: Ratio,
    frame_rate: Ratio,
    count: usize,
) -> Result<Vec<i64>, MediaError> {
    let packets = read(path, index, count)?;
    let seconds = f64::from(time_base.num) / f64::from(time_base.den);
    if packets.iter().all(|packet| packet.pts.is_some()) {
        return apart(&packets, seconds);
    }
    let per_frame = i64::from(frame_rate.num) * i64::from(time_base.num);
    let frame_ticks = match per_frame {
        1.. => Some((i64::from(frame_rate.den) * i64::from(time_base.den) / per_frame).clamp(1, 1 << 32)),
        _ => None,
    };
    let missing = packets.iter().position(|packet| packet.pts.is_none()).unwrap_or(0) as u64;
    in_display_order(&packets, frame_ticks).ok_or(MediaError::MissingTimes { packet: missing })
}

fn read(path: &Path, index: usize, count: usize) -> Result<Vec<Untimed>, MediaError> {
    let mut input = input::open_clip(path)?;
    let mut headers = input.stream(index).and_then(|stream| Headers::of(stream.parameters()));
    input::read_only(&mut input, |other| other == index);
    let mut packets = Vec::new();
    loop {
        if packets.len() == count {
            return Ok(packets);
        }
        match input::next_packet(&mut input) {
            Ok(None) => return Ok(packets),
            Ok(Some(packet)) if packet.stream() != index => {}
            Ok(Some(packet)) => packets.push(Untimed {
                pts: packet.pts(),
                dts: packet.dts(),
                key: packet.is_key(),
                hidden: input::is_hidden(&packet),
                place: headers.as_mut().map_or(Place::Next, |headers| headers.place(&packet)),
            }),
            Err(error) => {
                let detail = format!("its packets end with {}", input::reason(error));
                return Err(MediaError::Truncated { path: path.to_owned(), detail, last_good: None });
            }
        }
    }
}

/// Shown frames with one time each, as near to their own as can be, and in their order.
fn apart(packets: &[Untimed], seconds_per_tick: f64) -> Result<Vec<i64>, MediaError> {
    let mut times: Vec<i64> = packets.iter().map(|packet| packet.pts.unwrap_or_default()).collect();
    let mut shown: Vec<usize> = (0..packets.len()).filter(|&packet| !packets[packet].hidden).collect();
    shown.sort_by_key(|&packet| (times[packet], packet));
    let first = shown.first().map_or(0, |&packet| times[packet]);
    let mut free = i64::MIN;
    for packet in shown {
        let own = times[packet];
        times[packet] = own.max(free);
        free = times[packet] + 1;
        if (times[packet] - own) as f64 * seconds_per_tick > MOVED_AT_MOST {
            return Err(MediaError::DuplicateTimes { seconds: (own - first) as f64 * seconds_per_tick });
        }
    }
    Ok(times)
}

/// The decode times, or where there are none steps of `frame_ticks`, given out in display order. `None` without either.
fn in_display_order(packets: &[Untimed], frame_ticks: Option<i64>) -> Option<Vec<i64>> {
    let moments: Vec<i64> = match packets.iter().map(|packet| packet.dts).collect::<Option<Vec<i64>>>() {
        Some(mut moments) => {
            moments.sort_unstable();
            for later in 1..moments.len() {
                moments[later] = moments[later].max(moments[later - 1] + 1);
            }
            moments
        }
        None => {
            let frame_ticks = frame_ticks?;
            (0..packets.len() as i64).map(|frame| frame * frame_ticks).collect()
        }
    };
    let mut times = vec![0; packets.len()];
    for (packet, moment) in display_order(packets).into_iter().zip(moments) {
        times[packet] = moment;
    }
    // What presentation times there are say how far both clocks are apart.
    let apart = packets.iter().zip(&times).find_map(|(packet, made)| Some(packet.pts? - made)).unwrap_or(0);
    times.iter_mut().for_each(|time| *time += apart);
    Some(times)
}

/// The packets' numbers in the order in which they are shown.
fn display_order(packets: &[Untimed]) -> Vec<usize> {
    let mut order = Vec::with_capacity(packets.len());
    let mut waiting = None; // the last one that is `Next`
    let mut counted: Vec<(i32, usize)> = Vec::new();
    for (number, packet) in packets.iter().enumerate() {
        match packet.place {
            Place::Next => order.extend(waiting.replace(number)),
            Place::Between => order.push(number),
            Place::Count(count) => {
                // A key picture that is shown before one which was decoded before it: counting has begun anew.
                if packet.key && counted.iter().any(|(earlier, _)| *earlier >= count) {
                    counted.sort_unstable();
                    order.extend(counted.drain(..).map(|(_, number)| number));
                }
                counted.push((count, number));
            }
        }
    }
    order.extend(waiting);
    counted.sort_unstable();
    order.extend(counted.into_iter().map(|(_, number)| number));
    order
}

/// FFmpeg's parser of a codec's picture headers.
struct Headers {
    parser: *mut ffi::AVCodecParserContext,
    context: codec::Context,
    counts: bool,
}

impl Headers {
    /// `None` where pictures are shown as they are decoded.
    fn of(parameters: codec::Parameters) -> Option<Self> {
        use codec::Id;
        let id = parameters.id();
        let counts = matches!(id, Id::H264 | Id::HEVC);
        if !counts && !matches!(id, Id::MPEG1VIDEO | Id::MPEG2VIDEO | Id::MPEG4 | Id::VC1 | Id::WMV3) {
            return None;
        }
        let context = codec::Context::from_parameters(parameters).ok()?;
        // SAFETY: the number is FFmpeg's own; null where it has no parser.
        let parser = unsafe { ffi::av_parser_init(ffi::AVCodecID::from(id) as std::ffi::c_int) };
        if parser.is_null() {
            return None;
        }
        // SAFETY: it was just made and is ours.
        unsafe { (*parser).flags |= ffi::PARSER_FLAG_COMPLETE_FRAMES as std::ffi::c_int };
        Some(Self { parser, context, counts })
    }

    fn place(&mut self, packet: &Packet) -> Place {
        self.parse(packet);
        // SAFETY: the parser is ours.
        unsafe {
            match self.counts {
                true => Place::Count((*self.parser).output_picture_number),
                false if (*self.parser).pict_type == ffi::AVPictureType::AV_PICTURE_TYPE_B as std::ffi::c_int => {
                    Place::Between
                }
                false => Place::Next,
            }
        }
    }

    fn parse(&mut self, packet: &Packet) {
        use ffmpeg::packet::Ref as _;
        let (mut out, mut size) = (ptr::null_mut(), 0);
        // SAFETY: parser and context are ours; the packet's data is padded as FFmpeg's parsers want it, and lives on.
        unsafe {
            let packet = &*packet.as_ptr();
            ffi::av_parser_parse2(
                self.parser,
                self.context.as_mut_ptr(),
                &mut out,
                &mut size,
                packet.data,
                packet.size,
                packet.pts,
                packet.dts,
                packet.pos,
            );
        }
    }
}

impl Drop for Headers {
    fn drop(&mut self) {
        // SAFETY: it was made by `av_parser_init` and is closed once.
        unsafe { ffi::av_parser_close(self.parser) };
    }
}

/// Tells pictures that are whole from those with which a refresh begins that makes pictures whole by and by: H.264 calls both keyframes.
pub(super) struct Refresh(Option<Headers>);

impl Refresh {
    pub(super) fn of(parameters: codec::Parameters) -> Self {
        Self(if parameters.id() == codec::Id::H264 { Headers::of(parameters) } else { None })
    }

    /// Whether a keyframe is one by its recovery point alone: its picture is predicted from others.
    pub(super) fn is_gradual(&mut self, packet: &Packet) -> bool {
        let Some(headers) = self.0.as_mut().filter(|_| packet.is_key()) else { return false };
        headers.parse(packet);
        // SAFETY: the parser is ours.
        unsafe { (*headers.parser).pict_type == ffi::AVPictureType::AV_PICTURE_TYPE_P as std::ffi::c_int }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(place: Place) -> Untimed {
        Untimed { pts: None, dts: None, key: false, hidden: false, place }
    }

    /// `keys`: decoding can start there.
    fn shown(places: &[Place], keys: &[usize]) -> Vec<usize> {
        let mut packets: Vec<Untimed> = places.iter().copied().map(packet).collect();
        keys.iter().for_each(|&key| packets[key].key = true);
        display_order(&packets)
    }

    #[test]
    fn pictures_are_shown_as_their_headers_say() {
        use Place::{Between, Count, Next};
        for (places, keys, expected) in [
            (&[][..], &[][..], &[][..]),
            (&[Next, Next, Next], &[0], &[0, 1, 2]),
            (&[Next, Next, Between, Between, Next], &[0], &[0, 2, 3, 1, 4]), // I P B B P
            (&[Count(0), Count(8), Count(4), Count(2), Count(6)], &[0], &[0, 3, 2, 4, 1]),
            (&[Count(0), Count(4), Count(2), Count(0), Count(2)], &[0, 3], &[0, 2, 1, 3, 4]), // a second IDR
            (&[Count(0), Count(16), Count(12), Count(14), Count(20)], &[0, 1], &[0, 2, 3, 1, 4]), // an open GOP's I at 16
        ] {
            assert_eq!(shown(places, keys), expected, "{places:?}");
        }
    }

    #[test]
    fn decode_times_are_given_out_in_display_order() {
        use Place::{Between, Next};
        let packets: Vec<Untimed> = [(Next, 0), (Next, 1), (Between, 2), (Next, 7)]
            .map(|(place, dts)| Untimed { dts: Some(dts), ..packet(place) })
            .to_vec();
        assert_eq!(in_display_order(&packets, None), Some(vec![0, 2, 1, 7]));
        let some_known: Vec<Untimed> =
            packets.iter().enumerate().map(|(n, packet)| Untimed { pts: (n == 1).then_some(12), ..*packet }).collect();
        assert_eq!(in_display_order(&some_known, None), Some(vec![10, 12, 11, 17]));
        let bare = [packet(Next), packet(Next), packet(Between)];
        assert_eq!(in_display_order(&bare, Some(40)), Some(vec![0, 80, 40]));
        assert_eq!(in_display_order(&bare, None), None);
    }

    #[test]
    fn frames_at_one_time_are_moved_apart_but_not_far() {
        let packets = |pts: &[i64]| -> Vec<Untimed> {
            pts.iter().map(|pts| Untimed { pts: Some(*pts), ..packet(Place::Next) }).collect()
        };
        assert_eq!(apart(&packets(&[0, 40, 40, 40, 80]), 0.001).unwrap(), [0, 40, 41, 42, 80]);
        assert_eq!(apart(&packets(&[0, 0, 2, 2, 1]), 0.02).unwrap(), [0, 1, 3, 4, 2]);
        let far = apart(&packets(&[0, 1, 1, 1]), 0.04).unwrap_err();
        assert!(matches!(far, MediaError::DuplicateTimes { seconds } if seconds == 0.04), "{far}");
        let mut hidden = packets(&[5, 5]);
        hidden[0].hidden = true;
        assert_eq!(apart(&hidden, 1.0).unwrap(), [5, 5]);
    }
}
