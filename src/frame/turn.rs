//! Pictures that are stored turned: phones keep the sensor's rows and say in a matrix how players are to turn them.

use serde::{Deserialize, Serialize};

/// By how many degrees, clockwise, a stored picture is turned when it is shown. In JSON: those degrees.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "u16", into = "u16")]
pub enum Turn {
    /// 0: shown as stored.
    #[default]
    None,
    /// 90: what is stored at the left is shown at the top.
    Quarter,
    /// 180.
    Half,
    /// 270: what is stored at the right is shown at the top.
    ThreeQuarters,
}

/// Degrees by which no picture is turned.
#[derive(Debug, thiserror::Error)]
#[error("turn is {0} (expected 0, 90, 180 or 270)")]
pub struct NoTurn(u16);

impl Turn {
    /// Each of them.
    #[cfg(test)]
    pub const ALL: [Turn; 4] = [Turn::None, Turn::Quarter, Turn::Half, Turn::ThreeQuarters];

    /// The nearest, for any whole number of degrees.
    pub fn nearest(degrees: i32) -> Self {
        match (degrees.rem_euclid(360) + 45) / 90 {
            1 => Self::Quarter,
            2 => Self::Half,
            3 => Self::ThreeQuarters,
            _ => Self::None,
        }
    }

    /// 0, 90, 180 or 270.
    pub fn degrees(self) -> u16 {
        90 * self as u16
    }

    /// Turned by this, and then by `other`.
    pub fn then(self, other: Self) -> Self {
        Self::nearest(i32::from(self.degrees()) + i32::from(other.degrees()))
    }

    /// Shown as stored.
    pub fn is_none(&self) -> bool {
        *self == Self::None
    }

    /// Width and height as shown, of a picture of `stored` width and height.
    pub fn shown(self, (width, height): (usize, usize)) -> (usize, usize) {
        match self {
            Self::None | Self::Half => (width, height),
            Self::Quarter | Self::ThreeQuarters => (height, width),
        }
    }

    /// Where in the stored picture a point of the shown one lies; pixel centres at whole numbers, `size` as stored.
    pub fn to_stored(self, [x, y]: [f64; 2], size: (usize, usize)) -> [f64; 2] {
        let (right, bottom) = (size.0 as f64 - 1.0, size.1 as f64 - 1.0);
        match self {
            Self::None => [x, y],
            Self::Quarter => [y, bottom - x],
            Self::Half => [right - x, bottom - y],
            Self::ThreeQuarters => [right - y, x],
        }
    }

    /// The direction in the stored picture that is shown upwards, x to the right and y down.
    pub fn up(self) -> [f32; 2] {
        match self {
            Self::None => [0.0, -1.0],
            Self::Quarter => [-1.0, 0.0],
            Self::Half => [0.0, 1.0],
            Self::ThreeQuarters => [1.0, 0.0],
        }
    }

    /// Turns a plane of `size` samples: `stored` row by row, into `shown`, whose rows are `stride` samples apart.
    pub fn apply(self, stored: &[f32], size: (usize, usize), shown: &mut [f32], stride: usize) {
        let (width, height) = size;
        for (y, row) in stored.chunks_exact(width).take(height).enumerate() {
            match self {
                Self::None => shown[y * stride..][..width].copy_from_slice(row),
                Self::Quarter => {
                    row.iter().enumerate().for_each(|(x, value)| shown[x * stride + height - 1 - y] = *value);
                }
                Self::Half => {
                    let line = &mut shown[(height - 1 - y) * stride..][..width];
                    line.iter_mut().zip(row.iter().rev()).for_each(|(to, value)| *to = *value);
                }
                Self::ThreeQuarters => {
                    row.iter().enumerate().for_each(|(x, value)| shown[(width - 1 - x) * stride + y] = *value);
                }
            }
        }
    }
}

impl TryFrom<u16> for Turn {
    type Error = NoTurn;

    fn try_from(degrees: u16) -> Result<Self, NoTurn> {
        match degrees {
            0 => Ok(Self::None),
            90 => Ok(Self::Quarter),
            180 => Ok(Self::Half),
            270 => Ok(Self::ThreeQuarters),
            _ => Err(NoTurn(degrees)),
        }
    }
}

impl From<Turn> for u16 {
    fn from(turn: Turn) -> u16 {
        turn.degrees()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plane_is_turned_clockwise() {
        let check = |turn: Turn, expected: &[[f32; 4]]| {
            let mut shown = vec![0.0; 4 * expected.len()];
            turn.apply(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0], (3, 2), &mut shown, 4);
            assert_eq!(shown.as_chunks::<4>().0, expected, "{turn:?}");
            let filled = expected.iter().map(|row| row.iter().filter(|&&value| value > 0.0).count());
            assert!(filled.eq(vec![turn.shown((3, 2)).0; turn.shown((3, 2)).1]), "{turn:?}");
        };
        check(Turn::None, &[[1.0, 2.0, 3.0, 0.0], [4.0, 5.0, 6.0, 0.0]]);
        check(Turn::Quarter, &[[4.0, 1.0, 0.0, 0.0], [5.0, 2.0, 0.0, 0.0], [6.0, 3.0, 0.0, 0.0]]);
        check(Turn::Half, &[[6.0, 5.0, 4.0, 0.0], [3.0, 2.0, 1.0, 0.0]]);
        check(Turn::ThreeQuarters, &[[3.0, 6.0, 0.0, 0.0], [2.0, 5.0, 0.0, 0.0], [1.0, 4.0, 0.0, 0.0]]);
    }

    #[test]
    fn every_point_is_found_where_it_is_stored() {
        let stored = [0.0, 1.0, 2.0, 3.0, 4.0, 5.0];
        for turn in Turn::ALL {
            let size = turn.shown((3, 2));
            let mut shown = vec![0.0; 6];
            turn.apply(&stored, (3, 2), &mut shown, size.0);
            for (index, &value) in shown.iter().enumerate() {
                let point = [(index % size.0) as f64, (index / size.0) as f64];
                assert_eq!(
                    turn.to_stored(point, (3, 2)),
                    [f64::from(value % 3.0), f64::from((value / 3.0).floor())],
                    "{turn:?}"
                );
            }
            let [from, to] = [[1.0, 1.0], [1.0, 0.0]].map(|point| turn.to_stored(point, (3, 2)));
            assert_eq!(turn.up().map(f64::from), [to[0] - from[0], to[1] - from[1]], "{turn:?}");
        }
    }

    #[test]
    fn degrees_are_read_and_written() {
        for turn in Turn::ALL {
            assert_eq!(serde_json::to_value(turn).unwrap(), turn.degrees());
            assert_eq!(serde_json::from_value::<Turn>(turn.degrees().into()).unwrap(), turn);
            for off in [-360, -44, 0, 44, 360] {
                assert_eq!(Turn::nearest(i32::from(turn.degrees()) + off), turn, "{off}");
            }
        }
        let error = serde_json::from_str::<Turn>("45").unwrap_err().to_string();
        assert!(error.starts_with("turn is 45 (expected 0, 90, 180 or 270)"), "{error}");
    }
}
