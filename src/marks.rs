//! What an output says of itself to other software: that it was made by algorithms and how (IPTC), and who made it (GB 45438).
//!
//! Plain data and how it is spelt. Where it stands in a file is the matter of each format ([`crate::media`]).

mod aigc;
mod find;
pub mod xmp;

pub use aigc::{Aigc, Code, LABEL_MAX};
pub use find::find;

use crate::contract::DigitalSourceType;

/// What is written into an output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Marks {
    /// How it was made.
    pub digital_source_type: DigitalSourceType,
    /// Who made it; none where nobody has given the producer a name.
    pub aigc: Option<Aigc>,
}

/// What is found in a file, of whatever maker.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// How it says that it was made: mostly a URI of IPTC's vocabulary.
    pub digital_source_type: Option<String>,
    /// Its label after GB 45438, as it stands there: mostly JSON.
    pub aigc: Option<String>,
}

impl Found {
    /// Takes over what has not been found yet.
    pub fn or(self, other: Self) -> Self {
        Self {
            digital_source_type: self.digital_source_type.or(other.digital_source_type),
            aigc: self.aigc.or(other.aigc),
        }
    }

    /// Whether nothing is missing.
    pub fn is_complete(&self) -> bool {
        self.digital_source_type.is_some() && self.aigc.is_some()
    }
}
