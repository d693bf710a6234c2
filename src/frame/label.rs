//! A text that is drawn into pictures, so that everybody sees what they are.
//!
//! White letters with a dark, soft rim: that can be read on any ground. [`Stamp::new`] renders it once for pictures of one size and lay;
//! [`Stamp::draw`] then touches nothing but the samples under it. Letters are as bright as white on an ordinary screen, also in HDR.

mod font;
mod layout;
mod mask;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Color, PlaneMut, PlanesMut, Sample, Turn, YuvMut};
use layout::Layout;
use mask::Mask;

/// Raised whenever the same text is drawn otherwise: it is part of results' names, and of the group of workers.
pub const DRAWING: u32 = 1;

/// Where in a picture, as it is shown, a text stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Place {
    /// In the upper left corner.
    TopLeft,
    /// In the middle of the upper edge.
    Top,
    /// In the upper right corner.
    TopRight,
    /// In the middle of the picture.
    Centre,
    /// In the lower left corner.
    BottomLeft,
    /// In the middle of the lower edge.
    Bottom,
    /// In the lower right corner.
    #[default]
    BottomRight,
}

impl Place {
    /// How far from the left and from the top, as shares of the room that is left: 0, ½ or 1.
    fn shares(self) -> (f32, f32) {
        match self {
            Self::TopLeft => (0.0, 0.0),
            Self::Top => (0.5, 0.0),
            Self::TopRight => (1.0, 0.0),
            Self::Centre => (0.5, 0.5),
            Self::BottomLeft => (0.0, 1.0),
            Self::Bottom => (0.5, 1.0),
            Self::BottomRight => (1.0, 1.0),
        }
    }
}

/// What is written, where and how large.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Wording<'a> {
    /// One paragraph. It is broken into lines where it is wider than the picture.
    pub text: &'a str,
    /// Where it stands.
    pub place: Place,
    /// Height of its letters as a share of the picture's shorter side: of capitals, or of ideographs where no other letter is among them.
    pub height: f64,
}

/// The pictures that are drawn into.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Canvas {
    /// Width and height as stored, luma samples.
    pub size: (usize, usize),
    /// How they are turned when they are shown.
    pub turn: Turn,
    /// They are then mirrored, left to right.
    pub mirrored: bool,
    /// Width to height of a sample as stored.
    pub aspect: f64,
}

impl Canvas {
    /// Pictures that are shown as they are stored, of square samples.
    pub fn plain(size: (usize, usize)) -> Self {
        Self { size, turn: Turn::None, mirrored: false, aspect: 1.0 }
    }

    /// Width to height of a sample as shown. What no picture can mean (1 to 100) counts as square.
    fn shown_aspect(&self) -> f32 {
        let aspect = if (0.125..=8.0).contains(&self.aspect) { self.aspect } else { 1.0 };
        match self.turn {
            Turn::None | Turn::Half => aspect as f32,
            Turn::Quarter | Turn::ThreeQuarters => 1.0 / aspect as f32,
        }
    }

    /// Width and height as shown, in heights of a sample.
    fn shown(&self) -> (f32, f32) {
        let (width, height) = self.turn.shown(self.size);
        (width as f32 * self.shown_aspect(), height as f32)
    }

    /// Where a sample of the shown picture is stored.
    fn stored(&self, (x, y): (usize, usize)) -> (usize, usize) {
        let x = if self.mirrored { self.turn.shown(self.size).0 - 1 - x } else { x };
        let [x, y] = self.turn.to_stored([x as f64, y as f64], self.size);
        (x as usize, y as usize)
    }
}

/// A part of a picture as stored, luma samples.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Area {
    /// Columns before it.
    pub left: usize,
    /// Rows above it.
    pub top: usize,
    /// Columns.
    pub width: usize,
    /// Rows.
    pub height: usize,
}

/// The first character of a text that the built-in font cannot draw.
pub fn without_glyph(text: &str) -> Option<char> {
    text.chars().find(|&character| !font::knows(character))
}

/// The height at which a wording is drawn: its own, or less where it does not fit even in several lines.
pub fn drawn_height(wording: &Wording<'_>, canvas: &Canvas) -> f64 {
    wording.height * f64::from(Layout::new(wording, canvas.shown()).shrunk)
}

/// A text rendered for pictures of one size and lay.
pub struct Stamp {
    area: Area,
    /// Row by row: what is left of the picture, and how much white there is, 0..=255; the rest is black.
    cover: Vec<Cover>,
}

/// How a pixel is mixed, in parts of 255.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Cover {
    kept: u8,
    white: u8,
}

impl Cover {
    const NONE: Self = Self { kept: 255, white: 0 };

    /// Shares of picture, white and black, on a ground of some opacity (0..=1): where that is not 1, what covers it counts for more.
    fn shares(self, opacity: f32) -> (f32, f32, f32) {
        let [kept, white] = [self.kept, self.white].map(|part| f32::from(part) / 255.0);
        let black = (1.0 - kept - white).max(0.0);
        if opacity >= 1.0 {
            return (kept, white, black);
        }
        let all = white + black + kept * opacity;
        if all > 0.0 { (kept * opacity / all, white / all, black / all) } else { (1.0, 0.0, 0.0) }
    }
}

impl Stamp {
    /// Renders `wording` for pictures like `canvas`. Its characters must have glyphs ([`without_glyph`]); others are left out.
    pub fn new(wording: &Wording<'_>, canvas: &Canvas) -> Self {
        let shown_size = canvas.turn.shown(canvas.size);
        let mask = Mask::new(&Layout::new(wording, canvas.shown()), shown_size, canvas.shown_aspect());
        if mask.area.width * mask.area.height == 0 {
            return Self { area: Area::default(), cover: Vec::new() };
        }
        let Area { left, top, width, height } = mask.area;
        let corners = [(left, top), (left + width - 1, top + height - 1)].map(|corner| canvas.stored(corner));
        let [(x, y), (other_x, other_y)] = corners;
        let area = Area {
            left: x.min(other_x),
            top: y.min(other_y),
            width: x.abs_diff(other_x) + 1,
            height: y.abs_diff(other_y) + 1,
        };
        let mut cover = vec![Cover::NONE; area.width * area.height];
        for (row, line) in mask.cover.chunks_exact(width).enumerate() {
            for (column, &here) in line.iter().enumerate() {
                let (x, y) = canvas.stored((left + column, top + row));
                cover[(y - area.top) * area.width + x - area.left] = here;
            }
        }
        Self { area, cover }
    }

    /// The only part of a picture that it changes.
    pub fn area(&self) -> Area {
        self.area
    }

    /// Draws it into a picture of the size that it was rendered for; samples that it does not cover keep their bits.
    /// `opacity`: that of the picture in [`Stamp::area`], row by row, 0..=1; none where it is opaque everywhere.
    pub fn draw(&self, picture: &mut YuvMut<'_>, opacity: Option<&[f32]>) {
        let inks = Inks::of(picture.color);
        let shift = picture.shift;
        match &mut picture.planes {
            PlanesMut::U8(planes) => self.draw_planes(planes, shift, &inks, opacity),
            PlanesMut::U16(planes) => self.draw_planes(planes, shift, &inks, opacity),
        }
    }

    /// The opacity of [`Stamp::area`] with it, of that without it.
    pub fn make_opaque(&self, opacity: &mut [f32]) {
        for (opacity, cover) in opacity.iter_mut().zip(&self.cover) {
            let kept = f32::from(cover.kept) / 255.0;
            *opacity = 1.0 - kept + kept * *opacity;
        }
    }

    fn draw_planes<S: Sample>(
        &self,
        [luma, chroma @ ..]: &mut [PlaneMut<'_, S>; 3],
        shift: (u8, u8),
        inks: &Inks,
        opacity: Option<&[f32]>,
    ) {
        let Area { left, top, width, height } = self.area;
        let opacity_of = |place: usize| opacity.map_or(1.0, |opacity| opacity[place]);
        for (row, line) in self.cover.chunks_exact(width.max(1)).enumerate() {
            let samples = &mut luma.row_mut(top + row)[left..left + width];
            for (column, (sample, &cover)) in samples.iter_mut().zip(line).enumerate() {
                if cover != Cover::NONE {
                    let (kept, white, black) = cover.shares(opacity_of(row * width + column));
                    let mixed = kept * Into::<f32>::into(*sample) + white * inks.white + black * inks.black;
                    *sample = S::nearest(mixed, inks.max);
                }
            }
        }
        if width * height == 0 {
            return;
        }
        // Black and white have no colour: what is left of the picture's is the mean over the pixels of a chroma sample.
        let picture = (luma.width, luma.height);
        let kept_at = |x: usize, y: usize| {
            let place =
                (x >= left && y >= top && x < left + width && y < top + height).then(|| (y - top) * width + x - left);
            place.map_or(1.0, |place| self.cover[place].shares(opacity_of(place)).0)
        };
        for y in top >> shift.1..=(top + height - 1) >> shift.1 {
            for x in left >> shift.0..=(left + width - 1) >> shift.0 {
                let columns = x << shift.0..((x + 1) << shift.0).min(picture.0);
                let rows = y << shift.1..((y + 1) << shift.1).min(picture.1);
                let count = (columns.len() * rows.len()) as f32;
                let kept: f32 =
                    rows.flat_map(|y| columns.clone().map(move |x| (x, y))).map(|(x, y)| kept_at(x, y)).sum();
                let kept = kept / count;
                if kept < 1.0 {
                    for plane in chroma.iter_mut() {
                        let sample = &mut plane.row_mut(y)[x];
                        let colour = Into::<f32>::into(*sample) - inks.neutral;
                        *sample = S::nearest(inks.neutral + kept * colour, inks.max);
                    }
                }
            }
        }
    }
}

/// Sample values of what is drawn with.
struct Inks {
    white: f32,
    black: f32,
    neutral: f32,
    max: f32,
}

impl Inks {
    fn of(color: Color) -> Self {
        // Of the 8-bit scale in limited range: H.273, equations 20 to 31.
        let (black, range) = match color.full_range {
            true => (0.0, color.max()),
            false => (16.0 * color.unit(), 219.0 * color.unit()),
        };
        let white = black + range * color.transfer.signal(1.0) as f32;
        Self { white, black, neutral: color.neutral(), max: color.max() }
    }
}

#[cfg(test)]
mod tests;
