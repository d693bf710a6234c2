//! What is done to a file.

use std::fmt;

use super::parts::parts;
use crate::faults::dice::Dice;

/// A kind of mutation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Change {
    /// One to 32 bits, anywhere.
    Bits,
    /// One to eight bytes of the first kilobyte: headers.
    Header,
    /// A stretch of 16 to 512 bytes becomes noise.
    Noise,
    /// A stretch of 16 to 4096 bytes becomes zeros.
    Zeros,
    /// The file ends somewhere.
    CutOff,
    /// A stretch of 1 to 1024 bytes is gone.
    Hole,
    /// Two boxes (elements, packets, chunks) change places.
    Swap,
    /// One is there twice.
    Double,
    /// One is gone.
    Delete,
    /// One says that it is of another size.
    Size,
}

impl Change {
    pub const ALL: [Self; 10] = [
        Self::Bits,
        Self::Header,
        Self::Noise,
        Self::Zeros,
        Self::CutOff,
        Self::Hole,
        Self::Swap,
        Self::Double,
        Self::Delete,
        Self::Size,
    ];

    /// Does it.
    pub fn apply(self, bytes: &mut Vec<u8>, dice: &mut Dice) {
        let length = bytes.len() as u64;
        match self {
            Self::Bits => {
                for _ in 0..=dice.below(32) {
                    bytes[dice.below(length) as usize] ^= 1 << dice.below(8);
                }
            }
            Self::Header => {
                for _ in 0..=dice.below(8) {
                    bytes[dice.below(length.min(1024)) as usize] = dice.next() as u8;
                }
            }
            Self::Noise => {
                let long = 16 + dice.below(496);
                stretch(bytes, long, dice).fill_with(|| dice.next() as u8);
            }
            Self::Zeros => {
                let long = 16 + dice.below(4080);
                stretch(bytes, long, dice).fill(0);
            }
            Self::CutOff => bytes.truncate(dice.below(length) as usize),
            Self::Hole => {
                let start = dice.below(length) as usize;
                let end = (start + 1 + dice.below(1024) as usize).min(bytes.len());
                bytes.drain(start..end);
            }
            Self::Swap | Self::Double | Self::Delete | Self::Size => self.apply_to_parts(bytes, dice),
        }
    }

    fn apply_to_parts(self, bytes: &mut Vec<u8>, dice: &mut Dice) {
        let parts = parts(bytes);
        let pick = |dice: &mut Dice| parts[dice.below(parts.len() as u64) as usize].clone();
        let (one, other) = (pick(dice), pick(dice));
        match self {
            Self::Swap => {
                let (first, second) = if one.start <= other.start { (one, other) } else { (other, one) };
                if first.end > second.start {
                    return; // the same, or one within the other
                }
                let swapped = [
                    &bytes[..first.start],
                    &bytes[second.clone()],
                    &bytes[first.end..second.start],
                    &bytes[first.clone()],
                    &bytes[second.end..],
                ];
                *bytes = swapped.concat();
            }
            Self::Double => {
                let copy = bytes[one.clone()].to_vec();
                bytes.splice(one.end..one.end, copy);
            }
            Self::Delete => drop(bytes.drain(one)),
            _ => {
                let end = (one.start + 8).min(one.end);
                bytes[one.start + dice.below((end - one.start) as u64) as usize] = dice.next() as u8;
            }
        }
    }
}

fn stretch<'a>(bytes: &'a mut [u8], long: u64, dice: &mut Dice) -> &'a mut [u8] {
    let start = dice.below(bytes.len() as u64) as usize;
    let end = (start + long as usize).min(bytes.len());
    &mut bytes[start..end]
}

impl fmt::Display for Change {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Bits => "bits flipped",
            Self::Header => "header overwritten",
            Self::Noise => "stretch of noise",
            Self::Zeros => "stretch of zeros",
            Self::CutOff => "cut off",
            Self::Hole => "hole",
            Self::Swap => "parts swapped",
            Self::Double => "part doubled",
            Self::Delete => "part deleted",
            Self::Size => "part of another size",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_changes_the_same_and_every_kind_changes_something() {
        let file: Vec<u8> = (0..5000_u32).map(|byte| (byte * 7 % 251) as u8).collect();
        for change in Change::ALL {
            let changed = |seed| {
                let mut bytes = file.clone();
                change.apply(&mut bytes, &mut Dice::new(seed));
                bytes
            };
            assert_eq!(changed(3), changed(3), "{change}");
            assert!((0..20).any(|seed| changed(seed) != file), "{change}");
        }
    }
}
