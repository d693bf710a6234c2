//! Pictures in another pixel format; which one, [`super::pixels`] says.

use std::ffi::c_int;

use ffmpeg::format::Pixel;
use ffmpeg::{ffi, frame};
use ffmpeg_next as ffmpeg;

use super::pixels::{Kind, Layout, layout, rgb_depth};
use crate::frame::{Color, Frame, Matrix, RgbConversion};

/// FFmpeg's code of full range.
const FULL_RANGE: c_int = 2;

/// Whether the frame's planes can be looked at where they are: rows from top to bottom, words at even addresses.
pub(super) fn is_plain(frame: &frame::Video) -> bool {
    let Some(layout) = layout(frame.format()) else { return false };
    let planes = if layout.is_grey { 1 } else { 3 };
    // SAFETY: the frame is valid.
    let (data, strides) = unsafe { ((*frame.as_ptr()).data, (*frame.as_ptr()).linesize) };
    (0..planes).all(|plane| {
        let is_aligned = data[plane].addr().is_multiple_of(layout.bytes());
        is_aligned && usize::try_from(strides[plane]).is_ok_and(|stride| stride.is_multiple_of(layout.bytes()))
    })
}

/// A copy of `frame` with the planar format `to`: one that [`super::pixels`] chose for its own. `color` is the frame's;
/// RGB gets its matrix, in full range.
///
/// Chroma that is finer in `to` is repeated downwards and interpolated to the right (4:1:1 is sited on the left).
pub(super) fn repack(frame: &frame::Video, to: Pixel, color: Color) -> frame::Video {
    let target = layout(to).expect("pictures are brought to planar formats only");
    let source = Kind::of(frame.format()).expect("formats without readable samples have no way");
    let mut packed = frame::Video::new(to, frame.width(), frame.height());
    // SAFETY: both frames are valid; only properties are copied.
    unsafe { ffi::av_frame_copy_props(packed.as_mut_ptr(), frame.as_ptr()) };
    if source.is_rgb() {
        from_rgb(frame, &source, &mut packed, &target, color.matrix);
        // SAFETY: the frame is ours; numbers are written where C keeps its enums.
        unsafe {
            (&raw mut (*packed.as_mut_ptr()).colorspace).cast::<c_int>().write(code_of(color.matrix));
            (&raw mut (*packed.as_mut_ptr()).color_range).cast::<c_int>().write(FULL_RANGE);
        }
        return packed;
    }
    if color.full_range {
        // `yuvj…` says so by its name alone.
        // SAFETY: as above.
        unsafe { (&raw mut (*packed.as_mut_ptr()).color_range).cast::<c_int>().write(FULL_RANGE) };
    }
    for plane in 0..if target.is_grey { 1 } else { 3 } {
        copy_plane(frame, &source, &mut packed, &target, (plane, color.full_range));
    }
    packed
}

fn copy_plane(
    frame: &frame::Video,
    source: &Kind,
    packed: &mut frame::Video,
    target: &Layout,
    (plane, full_range): (usize, bool),
) {
    let picture = (frame.width() as usize, frame.height() as usize);
    let (columns, rows) = target.size(plane, picture);
    let from = if plane == 0 { (0, 0) } else { source.shift };
    let to = if plane == 0 { (0, 0) } else { target.shift };
    let narrower = (from.0 - to.0, from.1 - to.1);
    let count = picture.0.div_ceil(1 << from.0);
    let (has, wants) = (source.components[plane].depth as u32, u32::from(target.depth));
    let deepen = |sample: u16| match (wants - has, full_range) {
        (0, _) => sample,
        (more, false) => sample << more,
        // The largest value stays the largest.
        (more, true) => sample << more | sample >> (has - more),
    };
    let mut read = vec![0; count];
    let mut line = vec![0; columns];
    for row in 0..rows {
        read_line(frame, source, plane, row >> narrower.1, &mut read);
        for (column, sample) in line.iter_mut().enumerate() {
            let (left, fraction) = (column >> narrower.0, column % (1 << narrower.0));
            let right = (left + 1).min(count - 1);
            let step = 1u32 << narrower.0;
            let mixed = u32::from(read[left]) * (step - fraction as u32) + u32::from(read[right]) * fraction as u32;
            *sample = deepen(((mixed + step / 2) >> narrower.0) as u16);
        }
        write_line(packed, target, plane, row, &line);
    }
}

/// H.273's.
fn code_of(matrix: Matrix) -> c_int {
    match matrix {
        Matrix::Bt709 => 1,
        Matrix::Bt601 => 6,
        Matrix::Bt2020 => 9,
    }
}

/// R, G, B to Y, Cb, Cr in full range (ITU-T H.273, equations 26 to 43).
fn from_rgb(frame: &frame::Video, source: &Kind, packed: &mut frame::Video, target: &Layout, matrix: Matrix) {
    let (kr, kb) = matrix.coefficients();
    let color = Color::sdr(matrix, true).at_depth(target.depth);
    let (max, neutral) = (color.max(), color.neutral());
    let width = frame.width() as usize;
    let gains: [f32; 3] = std::array::from_fn(|channel| {
        let depth = if source.is_palette() { 8 } else { source.components[channel].depth };
        max / ((1u32 << depth) - 1) as f32
    });
    let palette = source.is_palette().then(|| {
        // SAFETY: the second plane of such a frame holds 256 words of ARGB.
        unsafe { (*frame.as_ptr()).data[1].cast::<[u32; 256]>().read_unaligned() }
    });
    let mut rgb = [(); 3].map(|()| vec![0u16; width]);
    let mut yuv = [(); 3].map(|()| vec![0u16; width]);
    for row in 0..frame.height() as usize {
        for (channel, line) in rgb.iter_mut().enumerate() {
            match &palette {
                Some(palette) => {
                    read_line(frame, source, 0, row, line);
                    let colour = |index: u16| palette[usize::from(index.min(255))];
                    line.iter_mut().for_each(|sample| *sample = (colour(*sample) >> (16 - 8 * channel) & 0xff) as u16);
                }
                None => read_line(frame, source, channel, row, line),
            }
        }
        for column in 0..width {
            let [r, g, b] = std::array::from_fn(|channel| f32::from(rgb[channel][column]) * gains[channel]);
            let luma = kr * r + (1.0 - kr - kb) * g + kb * b;
            let values = [luma, neutral + (b - luma) / (2.0 - 2.0 * kb), neutral + (r - luma) / (2.0 - 2.0 * kr)];
            for (line, value) in yuv.iter_mut().zip(values) {
                line[column] = value.round().clamp(0.0, max) as u16;
            }
        }
        for (plane, line) in yuv.iter().enumerate() {
            write_line(packed, target, plane, row, line);
        }
    }
}

/// What is shown of RGB: 4:4:4 of 16 bits, full range. `color` says matrix and transfer.
pub(super) fn shown(frame: &frame::Video, color: Color) -> Frame<u16> {
    let source = Kind::of(frame.format()).expect("pixels of RGB can be read");
    let conversion = RgbConversion::new(color.matrix, rgb_depth(frame.format()).expect("it is RGB of one depth"));
    let (width, height) = (frame.width() as usize, frame.height() as usize);
    let color = Color { full_range: true, depth: 16, ..color };
    let mut shown = Frame::grey_at(width, height, (0, 0), color);
    let mut rgb = [(); 3].map(|()| vec![0u16; width]);
    let [mut y, mut cb, mut cr] = shown.planes_mut();
    for row in 0..height {
        rgb.iter_mut().enumerate().for_each(|(channel, line)| read_line(frame, &source, channel, row, line));
        let lines = y.row_mut(row).iter_mut().zip(cb.row_mut(row)).zip(cr.row_mut(row));
        for (column, ((y, cb), cr)) in lines.enumerate() {
            [*y, *cb, *cr] = conversion.yuv(std::array::from_fn(|channel| rgb[channel][column]));
        }
    }
    shown
}

/// Writes into RGB what has been changed in what was [`shown`] of it; the frame must be writable.
pub(super) fn settle(frame: &mut frame::Video, changed: &Frame<u16>, color: Color) {
    let source = Kind::of(frame.format()).expect("pixels of RGB can be read");
    let conversion = RgbConversion::new(color.matrix, rgb_depth(frame.format()).expect("it is RGB of one depth"));
    let width = frame.width() as usize;
    let mut rgb = [(); 3].map(|()| vec![0u16; width]);
    let [y, cb, cr] = changed.planes();
    for row in 0..frame.height() as usize {
        rgb.iter_mut().enumerate().for_each(|(channel, line)| read_line(frame, &source, channel, row, line));
        let mut is_changed = false;
        let lines = y.row(row).iter().zip(cb.row(row)).zip(cr.row(row));
        for (column, ((y, cb), cr)) in lines.enumerate() {
            let before: [u16; 3] = std::array::from_fn(|channel| rgb[channel][column]);
            let after = conversion.moved(before, [*y, *cb, *cr]);
            is_changed |= before != after;
            rgb.iter_mut().zip(after).for_each(|(line, value)| line[column] = value);
        }
        if is_changed {
            rgb.iter().enumerate().for_each(|(channel, line)| overwrite_line(frame, &source, channel, row, line));
        }
    }
}

/// Gives `larger`, of the same format and `factor` times the sides, the transparency of `frame`, interpolated; nothing where that has none.
pub(super) fn enlarge_alpha(frame: &frame::Video, larger: &mut frame::Video, factor: usize) {
    const ALPHA: usize = 3;
    let Some(kind) = Kind::of(frame.format()).filter(|kind| kind.is_rgb() && kind.components.len() > ALPHA) else {
        return;
    };
    let size = (frame.width() as usize, frame.height() as usize);
    let place = |pixel: usize, size: usize| {
        let at = ((pixel as f32 + 0.5) / factor as f32 - 0.5).clamp(0.0, (size - 1) as f32);
        (at as usize, (at as usize + 1).min(size - 1), at.fract())
    };
    let [mut above, mut below] = [(); 2].map(|()| vec![0u16; size.0]);
    let mut line = vec![0u16; factor * size.0];
    for row in 0..factor * size.1 {
        let (upper, lower, down) = place(row, size.1);
        read_line(frame, &kind, ALPHA, upper, &mut above);
        read_line(frame, &kind, ALPHA, lower, &mut below);
        for (column, value) in line.iter_mut().enumerate() {
            let (left, right, across) = place(column, size.0);
            let of = |line: &[u16]| f32::from(line[left]) * (1.0 - across) + f32::from(line[right]) * across;
            *value = (of(&above) * (1.0 - down) + of(&below) * down).round() as u16;
        }
        overwrite_line(larger, &kind, ALPHA, row, &line);
    }
}

/// Replaces a row of a component, whatever lies beside it in the same bytes (FFmpeg's own writer wants zeros there).
pub(super) fn overwrite_line(frame: &mut frame::Video, source: &Kind, component: usize, row: usize, line: &[u16]) {
    let described = &source.components[component];
    let (plane, step) = (described.plane as usize, described.step as usize);
    let mask = ((1u32 << described.depth) - 1) as u16;
    let is_big_endian = source.has(ffi::AV_PIX_FMT_FLAG_BE);
    let is_byte = described.shift + described.depth <= 8;
    // Of a word that holds a byte's worth, big endian has it in the second byte.
    let first = described.offset as usize + usize::from(is_byte && is_big_endian);
    for (column, value) in line.iter().enumerate() {
        // SAFETY: the frame is writable, and the sample lies in its plane; rows may run upwards.
        unsafe {
            let raw = frame.as_mut_ptr();
            let start = (*raw).data[plane].offset(row as isize * (*raw).linesize[plane] as isize);
            let place = start.add(first + column * step);
            if is_byte {
                place.write(place.read() & !((mask << described.shift) as u8) | (value << described.shift) as u8);
                continue;
            }
            let place = place.cast::<[u8; 2]>();
            let native = |word: u16| if is_big_endian { word.to_be() } else { word.to_le() };
            let word = native(u16::from_ne_bytes(place.read())) & !(mask << described.shift);
            place.write(native(word | value << described.shift).to_ne_bytes());
        }
    }
}

/// Reads a row of a component (Y, Cb, Cr; R, G, B), as many samples as `line` holds.
pub(super) fn read_line(frame: &frame::Video, source: &Kind, component: usize, row: usize, line: &mut [u16]) {
    // SAFETY: the frame is valid, the component is one of its format's, and row and count lie inside of the component's
    // plane.
    unsafe {
        let mut data = (*frame.as_ptr()).data.map(<*mut u8>::cast_const);
        ffi::av_read_image_line(
            line.as_mut_ptr(),
            data.as_mut_ptr(),
            (*frame.as_ptr()).linesize.as_ptr(),
            source.descriptor,
            0,
            row as c_int,
            component as c_int,
            line.len() as c_int,
            0, // indices of palettes, not their colours
        );
    }
}

/// Writes a row of a plane.
fn write_line(packed: &mut frame::Video, target: &Layout, plane: usize, row: usize, line: &[u16]) {
    let start = row * packed.stride(plane);
    let out = &mut packed.data_mut(plane)[start..][..line.len() * target.bytes()];
    match target.bytes() {
        1 => out.iter_mut().zip(line).for_each(|(out, sample)| *out = *sample as u8),
        _ => out.as_chunks_mut::<2>().0.iter_mut().zip(line).for_each(|(out, sample)| *out = sample.to_ne_bytes()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::pixels::{name, planar};

    const COLOR: Color = Color::sdr(Matrix::Bt709, false);

    /// A frame of any format, each component's samples made up, and these samples.
    fn made_up(format: &str, width: u32, height: u32) -> (frame::Video, Vec<Vec<u16>>) {
        let pixel: Pixel = format.parse().unwrap();
        let mut frame = frame::Video::new(pixel, width, height);
        let kind = Kind::of(pixel).unwrap();
        let mut state = 1u32;
        let mut components = Vec::new();
        for plane in 0..frame.planes() {
            frame.data_mut(plane).fill(0); // as the writer below wants it
        }
        for (component, described) in kind.components.iter().enumerate() {
            let is_chroma = !kind.is_rgb() && (1..3).contains(&component);
            let shift = if is_chroma { kind.shift } else { (0, 0) };
            let (columns, rows) = (width.div_ceil(1 << shift.0) as usize, height.div_ceil(1 << shift.1));
            let mut samples = Vec::new();
            for row in 0..rows {
                let line: Vec<u16> = (0..columns)
                    .map(|_| {
                        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                        (state >> 16) as u16 & ((1u32 << described.depth) - 1) as u16
                    })
                    .collect();
                // SAFETY: the frame is valid and its own, and the line lies inside of the component's plane.
                unsafe {
                    let raw = frame.as_mut_ptr();
                    ffi::av_write_image_line(
                        line.as_ptr(),
                        (&raw mut (*raw).data).cast(),
                        (*raw).linesize.as_ptr(),
                        kind.descriptor,
                        0,
                        row as c_int,
                        component as c_int,
                        columns as c_int,
                    );
                }
                samples.extend(line);
            }
            components.push(samples);
        }
        (frame, components)
    }

    /// All samples of a planar frame's plane.
    fn samples(frame: &frame::Video, plane: usize) -> Vec<u16> {
        let layout = layout(frame.format()).unwrap();
        let (columns, rows) = layout.size(plane, (frame.width() as usize, frame.height() as usize));
        let row = |row: usize| &frame.data(plane)[row * frame.stride(plane)..][..columns * layout.bytes()];
        let value = |bytes: &[u8]| bytes.iter().rev().fold(0, |value, byte| value << 8 | u16::from(*byte));
        (0..rows).flat_map(|y| row(y).chunks(layout.bytes()).map(value).collect::<Vec<_>>()).collect()
    }

    #[test]
    fn other_orders_lose_nothing() {
        for format in [
            "yuv420p",
            "yuvj422p",
            "yuv410p",
            "yuv420p10be",
            "yuv444p16be",
            "nv12",
            "nv21",
            "nv16",
            "nv24",
            "p010le",
            "p016le",
            "p210le",
            "yuyv422",
            "uyvy422",
            "yvyu422",
            "y210le",
            "yuva444p10le",
            "gray",
            "gray16be",
            "ya8",
            "ya16le",
        ] {
            // Odd where the format allows it.
            let is_packed = format.contains("yv") || format.starts_with("y2");
            let (frame, components) = made_up(format, if is_packed { 8 } else { 7 }, 5);
            let repacked = repack(&frame, planar(frame.format()).unwrap(), COLOR);
            let planes = if layout(repacked.format()).unwrap().is_grey { 1 } else { 3 };
            for (plane, expected) in components.iter().enumerate().take(planes) {
                assert_eq!(samples(&repacked, plane), *expected, "{format}, plane {plane}");
            }
        }
    }

    #[test]
    fn finer_chroma_and_more_bits_keep_what_is_there() {
        let check = |from: &str, to: &str, full_range: bool| {
            let (frame, components) = made_up(from, 16, 8);
            let finer = repack(&frame, to.parse().unwrap(), Color { full_range, ..COLOR });
            let (source, target) = (layout(frame.format()).unwrap(), layout(finer.format()).unwrap());
            for (plane, component) in components.iter().enumerate() {
                let (columns, rows) = source.size(plane, (16, 8));
                let (fine_columns, fine_rows) = target.size(plane, (16, 8));
                let fine = samples(&finer, plane);
                let more = target.depth - source.depth;
                for (row, column) in (0..rows).flat_map(|row| (0..columns).map(move |column| (row, column))) {
                    let place = row * (fine_rows / rows) * fine_columns + column * (fine_columns / columns);
                    let expected = component[row * columns + column];
                    assert_eq!(fine[place] >> more, expected, "{from} as {to}, plane {plane}, {column}, {row}");
                }
                if more > 0 {
                    let brightest = fine.iter().max().unwrap();
                    assert_eq!(brightest % 2, u16::from(full_range && *brightest > 511), "{from} as {to}");
                }
            }
        };
        check("yuv411p", "yuv422p", false);
        check("yuv410p", "yuv420p", false);
        check("yuvj440p", "yuv444p", true);
        check("yuv420p9le", "yuv420p10le", false);
        check("yuv420p9le", "yuv420p10le", true);
        check("gray9le", "gray10le", false);
    }

    #[test]
    fn interpolated_chroma_lies_between_its_neighbours() {
        let (frame, components) = made_up("yuv411p", 16, 1);
        let finer = repack(&frame, Pixel::YUV422P, COLOR);
        let [a, b] = [components[1][0], components[1][1]];
        assert_eq!(samples(&finer, 1)[..3], [a, (a + b).div_ceil(2), b]);
        assert_eq!(samples(&finer, 1)[7], components[1][3]); // nothing is to the right of the last
    }

    #[test]
    fn colours_become_those_of_bt709() {
        // ITU-R BT.709 in full range: white, black, red, green, blue, a grey.
        const COLOURS: [([u16; 3], [u16; 3]); 6] = [
            ([255, 255, 255], [255, 128, 128]),
            ([0, 0, 0], [0, 128, 128]),
            ([255, 0, 0], [54, 99, 255]),
            ([0, 255, 0], [182, 30, 12]),
            ([0, 0, 255], [18, 255, 116]),
            ([100, 100, 100], [100, 128, 128]),
        ];
        for format in ["rgb24", "bgr24", "rgba", "bgra", "argb", "0rgb", "gbrp", "gbrap", "pal8", "gbrp10le", "rgb48be"]
        {
            for (rgb, yuv) in COLOURS {
                let pixel: Pixel = format.parse().unwrap();
                let mut frame = frame::Video::new(pixel, 3, 2);
                fill(&mut frame, rgb);
                let repacked = repack(&frame, planar(pixel).unwrap(), COLOR);
                let steps = if layout(repacked.format()).unwrap().depth == 10 { 1023.0 / 255.0 } else { 1.0 };
                for (plane, expected) in yuv.into_iter().enumerate() {
                    let found = samples(&repacked, plane);
                    // What is rounded above to a step of 255 is not so at ten bits.
                    let is_near =
                        found.iter().all(|sample| (f32::from(*sample) / steps - f32::from(expected)).abs() < 0.75);
                    assert!(is_near, "{format} {rgb:?}, plane {plane}: {found:?}, expected {expected}");
                }
                // SAFETY: the frame is valid; the numbers are what C's enums hold.
                let marks = unsafe {
                    let raw = repacked.as_ptr();
                    (
                        (&raw const (*raw).colorspace).cast::<c_int>().read(),
                        (&raw const (*raw).color_range).cast::<c_int>().read(),
                    )
                };
                assert_eq!(marks, (1, FULL_RANGE), "{format}");
            }
        }
    }

    #[test]
    fn changes_of_what_is_shown_are_changes_of_the_colours() {
        for format in [
            "rgb24",
            "bgr24",
            "bgr0",
            "bgra",
            "argb",
            "gbrp",
            "gbrap",
            "rgb48le",
            "rgb48be",
            "rgba64le",
            "gbrp10le",
            "gbrp16be",
            "x2rgb10le",
        ] {
            let (mut frame, components) = made_up(format, 9, 4);
            let kind = Kind::of(frame.format()).unwrap();
            let mut seen = shown(&frame, COLOR);
            settle(&mut frame, &seen, COLOR);
            let all = |frame: &frame::Video| -> Vec<Vec<u16>> {
                let line = |component: usize, row: usize| {
                    let mut line = vec![0; 9];
                    read_line(frame, &kind, component, row, &mut line);
                    line
                };
                (0..components.len()).map(|c| (0..4).flat_map(|row| line(c, row)).collect()).collect()
            };
            assert_eq!(all(&frame), components, "{format}: nothing was changed");

            // A dark grey, and then lighter by a quarter.
            let quarter = 1u16 << (kind.components[0].depth - 2);
            for component in 0..3 {
                let mut line = vec![0; 9];
                read_line(&frame, &kind, component, 2, &mut line);
                line[5] = quarter;
                overwrite_line(&mut frame, &kind, component, 2, &line);
            }
            seen = shown(&frame, COLOR);
            seen.planes_mut()[0].row_mut(2)[5] *= 2;
            settle(&mut frame, &seen, COLOR);
            let mut expected = components.clone();
            let lighter = all(&frame)[0][2 * 9 + 5];
            assert!(lighter.abs_diff(2 * quarter) <= 1, "{format}: {lighter}");
            expected[..3].iter_mut().for_each(|component| component[2 * 9 + 5] = lighter);
            assert_eq!(all(&frame), expected, "{format}: one pixel was changed");
        }
    }

    /// Every pixel of one colour, given at eight bits.
    fn fill(frame: &mut frame::Video, rgb: [u16; 3]) {
        if name(frame.format()) == "pal8" {
            frame.data_mut(0).fill(7);
            // SAFETY: a palette has 256 words.
            unsafe {
                let palette = (*frame.as_mut_ptr()).data[1].cast::<u32>();
                palette.add(7).write(u32::from(rgb[0]) << 16 | u32::from(rgb[1]) << 8 | u32::from(rgb[2]));
            }
            return;
        }
        let kind = Kind::of(frame.format()).unwrap();
        for plane in 0..frame.planes() {
            frame.data_mut(plane).fill(0);
        }
        for (component, value) in rgb.into_iter().enumerate() {
            let depth = kind.components[component].depth;
            let deep = (f32::from(value) / 255.0 * ((1u32 << depth) - 1) as f32).round() as u16;
            let line = vec![deep; frame.width() as usize];
            for row in 0..frame.height() {
                // SAFETY: as in `made_up`.
                unsafe {
                    let raw = frame.as_mut_ptr();
                    ffi::av_write_image_line(
                        line.as_ptr(),
                        (&raw mut (*raw).data).cast(),
                        (*raw).linesize.as_ptr(),
                        kind.descriptor,
                        0,
                        row as c_int,
                        component as c_int,
                        line.len() as c_int,
                    );
                }
            }
        }
    }
}
