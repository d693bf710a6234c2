//! What a stream says about its pictures beside their samples: colour, sample aspect ratio, interlacing.
//!
//! Slices carry it (NUT has no place of its own for most of it), so that a worker sees what the source's container
//! said.

use std::ffi::c_int;
use std::fmt;

use ffmpeg_next::ffi;
use serde::Serialize;

/// Codes as in ITU-T H.273 and, for fields and chroma location, FFmpeg's `AVFieldOrder` and `AVChromaLocation`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PictureProperties {
    /// Width to height of one sample; (0, 1) if unknown.
    pub sample_aspect: (c_int, c_int),
    /// 0 unknown, 1 progressive, 2 and 4 top field first, 3 and 5 bottom field first.
    pub field_order: c_int,
    /// 0 unknown, 1 limited, 2 full.
    pub range: c_int,
    /// Matrix coefficients; 2 unknown.
    pub matrix: c_int,
    /// Transfer characteristics; 2 unknown.
    pub transfer: c_int,
    /// Colour primaries; 2 unknown.
    pub primaries: c_int,
    /// 0 unknown, 1 left, 2 centre, …
    pub chroma_location: c_int,
}

/// How players lay a picture out: turned, and after that mirrored or not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Orientation {
    /// Degrees clockwise, 0..360.
    pub rotation: i32,
    /// Left and right are exchanged in what is shown.
    pub mirrored: bool,
}

impl Orientation {
    /// Of a display matrix (ISO/IEC 14496-12, 6.2.2; a, b, u, c, d, v, …): what is stored at (x, y) is shown at
    /// (a·x + c·y, b·x + d·y). So (b, d) is the direction that is shown downwards, and turning it there is the rotation,
    /// whether the picture is mirrored or not.
    pub(super) fn of_matrix(&[a, b, _, c, d, ..]: &[i32; 9]) -> Self {
        let [a, b, c, d] = [a, b, c, d].map(f64::from);
        Self { rotation: (b.atan2(d).to_degrees().round() as i32).rem_euclid(360), mirrored: a * d - b * c < 0.0 }
    }
}

/// What a clip says about its pictures, in words; colour as FFmpeg calls it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Appearance {
    /// By how many degrees players turn it, clockwise.
    pub rotation: i32,
    /// Players then mirror it, left to right.
    pub mirrored: bool,
    /// Width to height of a sample; `1:1` also where nothing is said.
    pub sample_aspect: String,
    /// `progressive` (also where nothing is said) or `interlaced, … field first`.
    pub fields: &'static str,
    /// `limited`, `full` or `unknown`.
    pub range: String,
    /// Matrix coefficients.
    pub matrix: String,
    /// Transfer characteristics.
    pub transfer: String,
    /// Primaries.
    pub primaries: String,
}

/// ITU-T H.273, table 4.
const MATRICES: [(c_int, &str); 9] = [
    (0, "gbr"),
    (1, "bt709"),
    (2, "unknown"),
    (4, "fcc"),
    (5, "bt470bg"),
    (6, "smpte170m"),
    (7, "smpte240m"),
    (9, "bt2020nc"),
    (10, "bt2020c"),
];
/// ITU-T H.273, table 3.
const TRANSFERS: [(c_int, &str); 11] = [
    (1, "bt709"),
    (2, "unknown"),
    (4, "gamma22"),
    (5, "gamma28"),
    (6, "smpte170m"),
    (8, "linear"),
    (13, "iec61966-2-1"),
    (14, "bt2020-10"),
    (15, "bt2020-12"),
    (16, "smpte2084"),
    (18, "arib-std-b67"),
];
/// ITU-T H.273, table 2.
const PRIMARIES: [(c_int, &str); 9] = [
    (1, "bt709"),
    (2, "unknown"),
    (4, "bt470m"),
    (5, "bt470bg"),
    (6, "smpte170m"),
    (7, "smpte240m"),
    (9, "bt2020"),
    (11, "smpte431"),
    (12, "smpte432"),
];

impl PictureProperties {
    /// As the container and the codec's headers say.
    ///
    /// # Safety
    /// `stream` must be valid, as must its codec parameters.
    pub(super) unsafe fn of_stream(stream: *const ffi::AVStream) -> Self {
        // SAFETY: valid by contract; enums are read as numbers, because newer bitstreams have codes unknown to the
        // bindings.
        unsafe {
            let parameters = (*stream).codecpar;
            let container_aspect = (*stream).sample_aspect_ratio;
            let codec_aspect = (*parameters).sample_aspect_ratio;
            let aspect = if container_aspect.num > 0 { container_aspect } else { codec_aspect };
            Self {
                sample_aspect: (aspect.num, aspect.den),
                field_order: code(&raw const (*parameters).field_order),
                range: code(&raw const (*parameters).color_range),
                matrix: code(&raw const (*parameters).color_space),
                transfer: code(&raw const (*parameters).color_trc),
                primaries: code(&raw const (*parameters).color_primaries),
                chroma_location: code(&raw const (*parameters).chroma_location),
            }
        }
    }

    /// As the decoder marked a frame. Interlacing is left open: it may differ from frame to frame.
    ///
    /// # Safety
    /// `frame` must be valid.
    pub(super) unsafe fn of_frame(frame: *const ffi::AVFrame) -> Self {
        // SAFETY: valid by contract; enums are read as numbers.
        unsafe {
            let aspect = (*frame).sample_aspect_ratio;
            Self {
                sample_aspect: (aspect.num, aspect.den),
                field_order: 0,
                range: code(&raw const (*frame).color_range),
                matrix: code(&raw const (*frame).colorspace),
                transfer: code(&raw const (*frame).color_trc),
                primaries: code(&raw const (*frame).color_primaries),
                chroma_location: code(&raw const (*frame).chroma_location),
            }
        }
    }

    /// Fills what is unknown from `other`.
    pub(super) fn or(self, other: Self) -> Self {
        let pick = |mine: c_int, theirs: c_int, unknown: c_int| if mine == unknown { theirs } else { mine };
        Self {
            sample_aspect: if self.sample_aspect.0 > 0 { self.sample_aspect } else { other.sample_aspect },
            field_order: pick(self.field_order, other.field_order, 0),
            range: pick(self.range, other.range, 0),
            matrix: pick(self.matrix, other.matrix, 2),
            transfer: pick(self.transfer, other.transfer, 2),
            primaries: pick(self.primaries, other.primaries, 2),
            chroma_location: pick(self.chroma_location, other.chroma_location, 0),
        }
    }

    /// Of RGB that was coded as YUV, the matrix and range that `coded` says.
    pub(super) fn or_coded(self, coded: Self) -> Self {
        const RGB: c_int = 0;
        if self.matrix == RGB { Self { matrix: coded.matrix, range: coded.range, ..self } } else { self }
    }

    /// Sample aspect ratio as FFmpeg writes it.
    pub(super) fn aspect(&self) -> ffi::AVRational {
        match self.sample_aspect {
            (num, den) if num > 0 && den > 0 => ffi::AVRational { num, den },
            _ => ffi::AVRational { num: 0, den: 1 },
        }
    }

    /// The same in words.
    pub(super) fn in_words(&self, orientation: Orientation) -> Appearance {
        let named = |names: &[(c_int, &str)], code: c_int| match names.iter().find(|(known, _)| *known == code) {
            Some((_, name)) => (*name).to_owned(),
            None => format!("code {code}"),
        };
        let fields = match self.field_order {
            0 | 1 => "progressive",
            _ if self.top_field_first() => "interlaced, top field first",
            _ => "interlaced, bottom field first",
        };
        Appearance {
            rotation: orientation.rotation,
            mirrored: orientation.mirrored,
            sample_aspect: match self.sample_aspect {
                (num, den) if num > 0 && den > 0 => format!("{num}:{den}"),
                _ => "1:1".to_owned(),
            },
            fields,
            range: named(&[(0, "unknown"), (1, "limited"), (2, "full")], self.range),
            matrix: named(&MATRICES, self.matrix),
            transfer: named(&TRANSFERS, self.transfer),
            primaries: named(&PRIMARIES, self.primaries),
        }
    }

    /// Whether the pictures are two fields each.
    pub(super) fn interlaced(&self) -> bool {
        self.field_order > 1
    }

    /// Whether the field of the even rows comes first.
    pub(super) fn top_field_first(&self) -> bool {
        matches!(self.field_order, 2 | 4)
    }

    /// Marks what an encoder makes.
    ///
    /// # Safety
    /// `context` must be valid and not opened yet.
    pub(super) unsafe fn mark_encoder(&self, context: *mut ffi::AVCodecContext) {
        // SAFETY: valid by contract; numbers are written where C keeps its enums.
        unsafe {
            (*context).sample_aspect_ratio = self.aspect();
            set_code(&raw mut (*context).field_order, self.field_order);
            set_code(&raw mut (*context).color_range, self.range);
            set_code(&raw mut (*context).colorspace, self.matrix);
            set_code(&raw mut (*context).color_trc, self.transfer);
            set_code(&raw mut (*context).color_primaries, self.primaries);
            set_code(&raw mut (*context).chroma_sample_location, self.chroma_location);
        }
    }

    /// Marks a stream and its codec parameters.
    ///
    /// # Safety
    /// `stream` must be valid, as must its codec parameters.
    pub(super) unsafe fn mark_stream(&self, stream: *mut ffi::AVStream) {
        // SAFETY: valid by contract; numbers are written where C keeps its enums.
        unsafe {
            let parameters = (*stream).codecpar;
            (*stream).sample_aspect_ratio = self.aspect();
            (*parameters).sample_aspect_ratio = self.aspect();
            set_code(&raw mut (*parameters).field_order, self.field_order);
            set_code(&raw mut (*parameters).color_range, self.range);
            set_code(&raw mut (*parameters).color_space, self.matrix);
            set_code(&raw mut (*parameters).color_trc, self.transfer);
            set_code(&raw mut (*parameters).color_primaries, self.primaries);
            set_code(&raw mut (*parameters).chroma_location, self.chroma_location);
        }
    }

    /// Reads what [`fmt::Display`] wrote.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let numbers: Vec<c_int> = text.split(' ').map(str::parse).collect::<Result<_, _>>().ok()?;
        let &[num, den, field_order, range, matrix, transfer, primaries, chroma_location] = &numbers[..] else {
            return None;
        };
        Some(Self { sample_aspect: (num, den), field_order, range, matrix, transfer, primaries, chroma_location })
    }
}

impl fmt::Display for PictureProperties {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (num, den) = self.sample_aspect;
        let Self { field_order, range, matrix, transfer, primaries, chroma_location, .. } = self;
        write!(out, "{num} {den} {field_order} {range} {matrix} {transfer} {primaries} {chroma_location}")
    }
}

/// # Safety
/// `field` must point to one of C's enums.
unsafe fn code<T>(field: *const T) -> c_int {
    // SAFETY: C's enums are four bytes wide, as `c_int`.
    unsafe { field.cast::<c_int>().read() }
}

/// # Safety
/// `field` must point to one of C's enums, and only C may read it afterwards as an enum.
unsafe fn set_code<T>(field: *mut T, value: c_int) {
    // SAFETY: C's enums are four bytes wide, as `c_int`.
    unsafe { field.cast::<c_int>().write(value) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOME: PictureProperties = PictureProperties {
        sample_aspect: (64, 45),
        field_order: 2,
        range: 1,
        matrix: 6,
        transfer: 1,
        primaries: 5,
        chroma_location: 1,
    };

    #[test]
    fn text_keeps_every_property() {
        assert_eq!(PictureProperties::parse(&SOME.to_string()), Some(SOME));
        assert_eq!(PictureProperties::parse("1 2 3"), None);
        assert_eq!(PictureProperties::parse("1 1 1 1 1 1 1 x"), None);
    }

    #[test]
    fn a_display_matrix_turns_and_mirrors() {
        let check = |[a, b, c, d]: [i32; 4], rotation: i32, mirrored: bool| {
            let matrix = [a, b, 0, c, d, 0, 0, 0, 1 << 14].map(|number| number << 16);
            assert_eq!(Orientation::of_matrix(&matrix), Orientation { rotation, mirrored }, "{a} {b} {c} {d}");
        };
        check([1, 0, 0, 1], 0, false);
        check([0, 1, -1, 0], 90, false);
        check([-1, 0, 0, -1], 180, false);
        check([0, -1, 1, 0], 270, false);
        check([1, 1, -1, 1], 45, false);
        check([-1, 0, 0, 1], 0, true); // left and right exchanged
        check([1, 0, 0, -1], 180, true); // top and bottom: turned by half, then left and right
        check([0, 1, 1, 0], 90, true); // transposed
        check([0, 0, 0, 0], 0, false);
    }

    #[test]
    fn unknown_is_filled_and_known_is_kept() {
        let unknown = PictureProperties {
            sample_aspect: (0, 1),
            field_order: 0,
            range: 0,
            matrix: 2,
            transfer: 2,
            primaries: 2,
            chroma_location: 0,
        };
        let other = PictureProperties { matrix: 9, range: 2, ..SOME };
        assert_eq!(unknown.or(SOME), SOME);
        assert_eq!(SOME.or_coded(other), SOME);
        let rgb = PictureProperties { matrix: 0, range: 2, ..SOME };
        assert_eq!(rgb.or_coded(PictureProperties { transfer: 13, ..SOME }), SOME);
        assert_eq!(SOME.or(other), SOME);
    }
}
