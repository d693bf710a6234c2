//! For which screen a picture of high dynamic range was made.

use serde::{Deserialize, Serialize};

/// What a clip says about the light of its pictures, in the units of the standards.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hdr {
    /// The screen on which it was graded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mastering: Option<Mastering>,
    /// The brightest pixel, and the brightest frame on average: MaxCLL and MaxFALL of CTA-861.3, cd/m².
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub light: Option<[u32; 2]>,
}

/// A screen, as SMPTE ST 2086 describes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mastering {
    /// Chromaticity x, y in 1/50,000.
    pub red: [u32; 2],
    /// Chromaticity x, y in 1/50,000.
    pub green: [u32; 2],
    /// Chromaticity x, y in 1/50,000.
    pub blue: [u32; 2],
    /// Chromaticity x, y in 1/50,000.
    pub white: [u32; 2],
    /// Darkest and brightest, in 1/10,000 cd/m².
    pub luminance: [u32; 2],
}

impl Hdr {
    /// Whether it says anything.
    pub fn is_empty(&self) -> bool {
        self.mastering.is_none() && self.light.is_none()
    }
}
