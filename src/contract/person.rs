//! Several people of one clip, each with a new face of their own.

use std::collections::BTreeSet;
use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Consent, Digest};
use crate::error::Refusal;

/// How many people a job may name.
const PEOPLE_MAX: usize = 16;

/// One person of a clip, and whose face they get.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Person {
    /// Which one of the clip.
    pub who: Who,
    /// Photos of the person whose face they get, as `sources` of a job.
    pub sources: Vec<String>,
    /// Which face of a photo of `sources` that shows several, counted from the left, from 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_face: Option<u32>,
    /// That this face may be used. Default: what the job's own says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub consent: Option<Consent>,
}

/// Which person of a clip.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Who {
    /// The one whose face is like that of a photo: of a frame's faces that are like enough the most alike, and no face is two people's.
    Reference {
        /// The photo: `s3://bucket/key` or `file:///path`.
        photo: String,
        /// Which of its faces, if it shows several, counted from the left, from 0.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        face: Option<u32>,
        /// How unlike it may be: 1 less the cosine of both embeddings, 0.0..=2.0. The same person is at about 0.3, others at 0.7 or more.
        /// Default: 0.6.
        #[serde(default = "usual_distance")]
        distance: f64,
    },
    /// The one at this place among a frame's faces, from 0, in the job's `swap.face_order` (from the left, if it says none).
    Position(u32),
}

/// In which order a frame's faces are counted, as the frame is shown; by the middles of their meshes, or the areas of the boxes around
/// these. Of equals the one further left comes first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum FaceOrder {
    /// From the left.
    #[default]
    LeftRight,
    /// From the right.
    RightLeft,
    /// From the top.
    TopBottom,
    /// From the bottom.
    BottomTop,
    /// The smallest first.
    SmallLarge,
    /// The largest first.
    LargeSmall,
}

impl FaceOrder {
    /// Each of them.
    pub const ALL: [Self; 6] =
        [Self::LeftRight, Self::RightLeft, Self::TopBottom, Self::BottomTop, Self::SmallLarge, Self::LargeSmall];

    /// Whether it is the one that nobody has to name.
    pub fn is_usual(&self) -> bool {
        *self == Self::default()
    }
}

impl fmt::Display for FaceOrder {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(out)
    }
}

/// How unlike a reference a face may be, if nobody says.
pub fn usual_distance() -> f64 {
    0.6
}

/// A [`Person`] whose photos are in the store.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PersonSpec {
    /// Which one of the clip.
    pub who: WhoSpec,
    /// Digests of the photos that lend.
    pub portraits: Vec<Digest>,
    /// See [`Person::source_face`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_face: Option<u32>,
}

/// A [`Who`] whose photo is in the store.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WhoSpec {
    /// See [`Who::Reference`].
    Reference {
        /// Digest of the photo.
        photo: Digest,
        /// Which of its faces.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        face: Option<u32>,
        /// How unlike it may be.
        distance: f64,
    },
    /// See [`Who::Position`].
    Position(u32),
}

impl PersonSpec {
    /// Digests of all photos that stand for this person, before and after.
    pub fn photos(&self) -> impl Iterator<Item = &Digest> {
        let reference = match &self.who {
            WhoSpec::Reference { photo, .. } => Some(photo),
            WhoSpec::Position(_) => None,
        };
        reference.into_iter().chain(&self.portraits)
    }
}

/// Refuses what can be seen to be wrong from the record alone; `photos_max` is how many photos a person may have.
pub(super) fn validate(people: &[Person], photos_max: usize) -> Result<(), Refusal> {
    if people.len() > PEOPLE_MAX {
        return Err(Refusal::new("people", people.len().to_string(), "at most 16 people"));
    }
    let mut positions = BTreeSet::new();
    for (number, person) in people.iter().enumerate() {
        if !(1..=photos_max).contains(&person.sources.len()) {
            let field = format!("people[{number}].sources");
            return Err(Refusal::new(field, format!("{} photos", person.sources.len()), "1 to 16 photos"));
        }
        if let Some(consent) = &person.consent {
            consent.validate(&format!("people[{number}].consent"))?;
        }
        match &person.who {
            Who::Reference { distance, .. } if !(0.0..=2.0).contains(distance) => {
                let field = format!("people[{number}].who.reference.distance");
                return Err(Refusal::new(field, distance.to_string(), "0.0..=2.0"));
            }
            Who::Position(position) if !positions.insert(*position) => {
                let field = format!("people[{number}].who.position");
                return Err(Refusal::new(
                    field,
                    format!("{position}, which another one has"),
                    "a position of their own",
                ));
            }
            Who::Reference { .. } | Who::Position(_) => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn people(text: &str) -> Vec<Person> {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn people_are_named_by_photo_or_place() {
        let found = people(
            r#"[{"who":{"reference":{"photo":"s3://f/anna.jpg"}},"sources":["s3://f/1.jpg"]},
                {"who":{"position":1},"sources":["s3://f/2.jpg","s3://f/3.jpg"],"source_face":1}]"#,
        );
        let reference = Who::Reference { photo: "s3://f/anna.jpg".into(), face: None, distance: 0.6 };
        assert_eq!((&found[0].who, &found[1].who), (&reference, &Who::Position(1)));
        validate(&found, 16).unwrap();
    }

    #[test]
    fn each_refusal_names_its_field() {
        for (field, text) in [
            ("people[0].sources", r#"[{"who":{"position":1},"sources":[]}]"#),
            (
                "people[0].who.reference.distance",
                r#"[{"who":{"reference":{"photo":"s3://f/a.jpg","distance":3}},"sources":["s3://f/b.jpg"]}]"#,
            ),
            (
                "people[1].who.position",
                r#"[{"who":{"position":1},"sources":["s3://f/b.jpg"]},{"who":{"position":1},"sources":["s3://f/c.jpg"]}]"#,
            ),
            (
                "people[0].consent.date",
                r#"[{"who":{"position":1},"sources":["s3://f/b.jpg"],
                     "consent":{"subject":"1042","basis":"consent","reference":"a.pdf","date":"2026-13-01"}}]"#,
            ),
        ] {
            assert_eq!(validate(&people(text), 16).expect_err(field).field, field);
        }
        let crowd = vec![people(r#"[{"who":{"position":1},"sources":["s3://f/b.jpg"]}]"#).remove(0); PEOPLE_MAX + 1];
        assert_eq!(validate(&crowd, 16).unwrap_err().field, "people");
    }

    #[test]
    fn all_photos_of_a_person_are_told() {
        let digest = |text: &str| Digest::of(text.as_bytes());
        let who = WhoSpec::Reference { photo: digest("before"), face: None, distance: 0.6 };
        let person = PersonSpec { who, portraits: vec![digest("after")], source_face: None };
        assert_eq!(person.photos().copied().collect::<Vec<_>>(), [digest("before"), digest("after")]);
    }
}
