//! Whose face it is, and on what ground it may be used.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use time::Date;
use time::format_description::well_known::Iso8601;

use super::Digest;
use crate::error::Refusal;

/// Longest text of each field, bytes.
const TEXT_MAX: usize = 512;

/// That somebody's face may be used. It names the document and does not hold it; its digest goes into the output's credentials, all of it
/// into the audit, which is kept for good: best name people by a number of your own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Consent {
    /// Whose face: the producer's own name or number for the person. 1 to 512 bytes, as all of these.
    pub subject: String,
    /// On what ground, e.g. `consent`, `contract`, `licence`, `own face`.
    pub basis: String,
    /// Where the document is found: a number, an address.
    pub reference: String,
    /// When it was given: `2026-11-23`.
    pub date: String,
}

impl Consent {
    /// Refuses what says nothing. `field` is its place in the job.
    pub(super) fn validate(&self, field: &str) -> Result<(), Refusal> {
        let texts = [("subject", &self.subject), ("basis", &self.basis), ("reference", &self.reference)];
        for (name, text) in texts {
            if text.trim().is_empty() || text.len() > TEXT_MAX || text.chars().any(char::is_control) {
                let found = format!("{text:.80?}");
                return Err(Refusal::new(format!("{field}.{name}"), found, "a line of 1 to 512 bytes"));
            }
        }
        // Of the forms of ISO 8601 the one that everybody reads.
        let is_plain = self.date.len() == 10 && self.date.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-');
        if !is_plain || Date::parse(&self.date, &Iso8601::DATE).is_err() {
            let found = format!("{:.80?}", self.date);
            return Err(Refusal::new(format!("{field}.date"), found, "a date, e.g. 2026-11-23"));
        }
        Ok(())
    }

    /// What stands for it where it is not told.
    pub fn digest(&self) -> Digest {
        Digest::of_json(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn consent() -> Consent {
        Consent {
            subject: "customer 1042".into(),
            basis: "consent".into(),
            reference: "archive/2026/1042.pdf".into(),
            date: "2026-02-28".into(),
        }
    }

    #[test]
    fn what_says_nothing_is_refused_by_name() {
        consent().validate("consent").unwrap();
        type Change = fn(&mut Consent);
        let cases: [(&str, Change); 8] = [
            ("consent.subject", |c| c.subject = " ".into()),
            ("consent.basis", |c| c.basis.clear()),
            ("consent.reference", |c| c.reference = "two\nlines".into()),
            ("consent.reference", |c| c.reference = "x".repeat(513)),
            ("consent.date", |c| c.date = "2026-02-29".into()),
            ("consent.date", |c| c.date = "20260228".into()),
            ("consent.date", |c| c.date = "2026-W09-6".into()),
            ("consent.date", |c| c.date = "yesterday".into()),
        ];
        for (field, change) in cases {
            let mut changed = consent();
            change(&mut changed);
            assert_eq!(changed.validate("consent").unwrap_err().field, field, "{changed:?}");
        }
    }

    #[test]
    fn whatever_it_says_is_in_its_digest() {
        let other = Consent { date: "2026-03-01".into(), ..consent() };
        assert_ne!(other.digest(), consent().digest());
    }
}
