//! Every failure is one of three kinds, and the kind decides what happens next.

use serde::{Deserialize, Serialize};

/// What a failure asks of the code that handles it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// The store or the broker is away: try again in place, with a bound.
    Retry,
    /// This input can never work: fail its job with the reason and go on with the others.
    Poison,
    /// This process cannot go on: exit non-zero, its records go to other processes.
    Fatal,
}

/// Implemented by every module's error type.
pub trait Classify {
    /// Which of the three kinds this failure is.
    fn kind(&self) -> Kind;
}

/// Why a job cannot be done, in the terms of whoever sent it: the field, what was found, what was expected.
///
/// It travels in records and manifests, so it is data and not a Rust error chain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{field}: {found} (expected {expected})")]
pub struct Refusal {
    /// The field of the job, e.g. `target` or `swap.blend_ratio`.
    pub field: String,
    /// What was there.
    pub found: String,
    /// What would have been accepted.
    pub expected: String,
}

/// As much as is told of what was there, bytes: a record's author can make it as long as he likes.
const FOUND_MAX: usize = 1024;

impl Refusal {
    /// A refusal of `field`.
    pub fn new(field: impl Into<String>, found: impl Into<String>, expected: impl Into<String>) -> Self {
        let mut found = found.into();
        if found.len() > FOUND_MAX {
            found.truncate(found.floor_char_boundary(FOUND_MAX));
            found.push('…');
        }
        Self { field: field.into(), found, expected: expected.into() }
    }
}

impl Classify for Refusal {
    fn kind(&self) -> Kind {
        Kind::Poison
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_found_is_told_up_to_a_bound() {
        let found = |text: &str| Refusal::new("field", text, "less").found;
        assert_eq!(found("short"), "short");
        assert_eq!(found(&"ü".repeat(FOUND_MAX / 2)).len(), FOUND_MAX);
        assert_eq!(found(&format!("x{}", "ü".repeat(FOUND_MAX))), format!("x{}…", "ü".repeat(FOUND_MAX / 2 - 1)));
    }
}
