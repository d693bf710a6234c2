//! Makes odd sides even: 4:2:0 video in H.264 and HEVC cannot have them.

use ffmpeg::{ffi, frame};
use ffmpeg_next as ffmpeg;

/// Width and height, each rounded up to even where the format's chroma is halved along it.
pub(super) fn even_size(frame: &frame::Video) -> (u32, u32) {
    let Some(descriptor) = frame.format().descriptor() else { return (frame.width(), frame.height()) };
    let even = |side: u32, chroma_shift: u8| if chroma_shift > 0 { side.next_multiple_of(2) } else { side };
    (even(frame.width(), descriptor.log2_chroma_w()), even(frame.height(), descriptor.log2_chroma_h()))
}

/// The frame with its right and lower edge repeated once where its sides are odd; `None` if they are even.
///
/// Chroma of an odd picture already covers the additional column and row, so only luma grows.
pub(super) fn to_even(frame: &frame::Video) -> Option<frame::Video> {
    let (width, height) = even_size(frame);
    if (width, height) == (frame.width(), frame.height()) {
        return None;
    }
    let mut padded = frame::Video::new(frame.format(), width, height);
    // SAFETY: both frames are valid; only properties are copied.
    unsafe { ffi::av_frame_copy_props(padded.as_mut_ptr(), frame.as_ptr()) };
    let sample = bytes_per_sample(frame.format());
    for plane in 0..3 {
        let (rows, columns) = (frame.plane_height(plane) as usize, frame.plane_width(plane) as usize * sample);
        let (from_stride, to_stride) = (frame.stride(plane), padded.stride(plane));
        let to_rows = padded.plane_height(plane) as usize;
        let to_columns = padded.plane_width(plane) as usize * sample;
        let (source, target) = (rows_of(frame, plane, rows, columns), padded.data_mut(plane));
        for row in 0..to_rows {
            let line = &source[row.min(rows - 1) * from_stride..][..columns];
            let out = &mut target[row * to_stride..][..to_columns];
            out[..columns].copy_from_slice(line);
            if to_columns > columns {
                out.copy_within(columns - sample..columns, columns);
            }
        }
    }
    Some(padded)
}

/// The samples of a plane. Not `frame.data()`, which reaches to the end of the last row's padding: a cropped picture
/// does not.
fn rows_of(frame: &frame::Video, plane: usize, rows: usize, columns: usize) -> &[u8] {
    // SAFETY: the plane holds at least `stride · (rows − 1) + columns` bytes.
    unsafe { std::slice::from_raw_parts((*frame.as_ptr()).data[plane], frame.stride(plane) * (rows - 1) + columns) }
}

fn bytes_per_sample(format: ffmpeg::format::Pixel) -> usize {
    // SAFETY: the descriptor is a constant of FFmpeg's.
    let depth = unsafe { ffi::av_pix_fmt_desc_get(format.into()).as_ref() }.map_or(8, |known| known.comp[0].depth);
    if depth > 8 { 2 } else { 1 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ffmpeg::format::Pixel;

    #[test]
    fn odd_sides_grow_by_their_edge() {
        let mut frame = frame::Video::new(Pixel::YUV420P, 5, 3);
        for plane in 0..3 {
            let (stride, width) = (frame.stride(plane), frame.plane_width(plane) as usize);
            for (index, value) in frame.data_mut(plane).iter_mut().enumerate() {
                *value = (10 * (index / stride) + (index % stride).min(width)) as u8;
            }
        }
        let padded = to_even(&frame).unwrap();
        assert_eq!((padded.width(), padded.height()), (6, 4));
        let row =
            |plane: usize, row: usize, width: usize| padded.data(plane)[row * padded.stride(plane)..][..width].to_vec();
        assert_eq!(row(0, 0, 6), [0, 1, 2, 3, 4, 4]);
        assert_eq!(row(0, 2, 6), [20, 21, 22, 23, 24, 24]);
        assert_eq!(row(0, 3, 6), [20, 21, 22, 23, 24, 24]);
        assert_eq!(row(1, 1, 3), [10, 11, 12]);
    }

    #[test]
    fn only_halved_directions_must_be_even() {
        for (format, expected) in
            [(Pixel::YUV420P, (6, 4)), (Pixel::YUV420P10LE, (6, 4)), (Pixel::YUV422P, (6, 3)), (Pixel::YUV444P, (5, 3))]
        {
            let frame = frame::Video::new(format, 5, 3);
            assert_eq!(even_size(&frame), expected, "{format:?}");
            assert_eq!(to_even(&frame).is_some(), expected != (5, 3), "{format:?}");
        }
    }
}
