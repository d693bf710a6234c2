//! Looking at faces before work is spent: do the photos show one, and what does the clip's face usually look like?

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use bytes::Bytes;

use crate::contract::{Digest, Job, PersonSpec, Plan, Toolchain, Who, WhoSpec, keys};
use crate::error::{Classify, Kind, Refusal};
use crate::frame::Pixels;
use crate::photo;
use crate::site::{Site, SiteError};
use crate::vision::swap::{EyeNet, Portrait, ReferenceBuilder};
use crate::vision::{Catalog, Execution, TrackNets, VisionError};

use super::clip::bring;
use super::gate::{self, Gate, Judged};
use super::{IngestError, Target, looks};

/// Largest photo, bytes.
const PHOTO_MAX: u64 = 64 << 20;

/// The networks of an ingest node, loaded with the first job that needs them.
#[derive(Clone)]
pub struct Analyst {
    nets: Arc<Mutex<Option<Nets>>>,
    gate: Gate,
}

struct Nets {
    track: TrackNets,
    eyes: EyeNet,
}

/// With what the photos of a job are looked at.
pub struct Sight<'a> {
    /// Where they and their blobs lie.
    pub site: &'a Site,
    /// A folder for files in work.
    pub scratch: &'a Path,
    /// Takes down what the gate says.
    pub judged: &'a Judged,
}

/// A clip whose usual look is wanted.
pub struct Look<'a> {
    /// The clip and where it is looked at.
    pub plan: &'a Plan,
    /// Its file on this machine; nobody looks at a folder.
    pub target: &'a Target,
    /// A folder for files in work.
    pub scratch: &'a Path,
    /// Whose models look.
    pub toolchain: &'a Toolchain,
}

impl Analyst {
    /// Nothing is loaded yet; photos go through `gate`.
    pub fn new(gate: Gate) -> Self {
        Self { nets: Arc::default(), gate }
    }

    /// Fetches the photos that lend to all, refuses those without a usable face, and keeps the others by digest.
    pub async fn check_portraits(&self, job: &Job, sight: &Sight<'_>) -> Result<Vec<Digest>, IngestError> {
        self.check_photos("sources", (&job.sources, job.swap.source_face), sight).await
    }

    /// The same for people with a face of their own each.
    pub async fn check_people(&self, job: &Job, sight: &Sight<'_>) -> Result<Vec<PersonSpec>, IngestError> {
        let mut people = Vec::new();
        for (number, person) in job.people.iter().enumerate() {
            let field = format!("people[{number}].sources");
            let portraits = self.check_photos(&field, (&person.sources, person.source_face), sight).await?;
            let who = match &person.who {
                Who::Position(position) => WhoSpec::Position(*position),
                Who::Reference { photo, face, distance } => {
                    let field = format!("people[{number}].who.reference.photo");
                    let to = sight.scratch.join("reference-photo");
                    let photo = self.check_photo(field, (photo, *face), &to, sight).await?;
                    WhoSpec::Reference { photo, face: *face, distance: *distance }
                }
            };
            people.push(PersonSpec { who, portraits, source_face: person.source_face });
        }
        Ok(people)
    }

    async fn check_photos(
        &self,
        field: &str,
        (photos, face): (&[String], Option<u32>),
        sight: &Sight<'_>,
    ) -> Result<Vec<Digest>, IngestError> {
        let mut digests = Vec::new();
        for (number, photo) in photos.iter().enumerate() {
            let field = format!("{field}[{number}]");
            let to = sight.scratch.join(format!("photo-{number}"));
            digests.push(self.check_photo(field, (photo, face), &to, sight).await?);
        }
        Ok(digests)
    }

    /// Fetches a photo to `to`, unless it is on this machine; its digest.
    async fn check_photo(
        &self,
        field: String,
        (photo, face): (&str, Option<u32>),
        to: &Path,
        sight: &Sight<'_>,
    ) -> Result<Digest, IngestError> {
        let path = bring(sight.site, &field, photo, to).await?;
        let bytes = read(&field, &path).await?;
        let (analyst, judged, photo) = (self.clone(), sight.judged.clone(), bytes.clone());
        let checked = tokio::task::spawn_blocking(move || analyst.check_portrait(&field, &photo, face, &judged));
        checked.await.map_err(SiteError::from)??;
        Ok(sight.site.put_blob(bytes).await?)
    }

    fn check_portrait(&self, field: &str, bytes: &[u8], face: Option<u32>, judged: &Judged) -> Result<(), IngestError> {
        let photo = photo::decode(bytes)
            .map_err(|error| Refusal::new(field, error.to_string(), "a JPEG, PNG or WebP photo of a face"))?;
        if let Some(score) = self.gate.judge_photo(field, &photo)? {
            judged.photo(score.clone());
            gate::check_photo(&score)?;
        }
        let analysed = self.with_nets(|nets| {
            Portrait::analyse(&photo, &mut nets.track, &mut nets.eyes, face.map(|face| face as usize))
        });
        match analysed {
            Ok(_) => Ok(()),
            Err(error) if error.kind() == Kind::Poison => {
                Err(Refusal::new(field, error.to_string(), "a photo with one face, or --source-face N").into())
            }
            Err(error) => Err(fatal(error).into()),
        }
    }

    /// The clip's usual look of the face, as a blob; none if too little of a face is seen. Learnt once per clip and models.
    pub async fn reference(&self, site: &Site, look: Look<'_>) -> Result<Option<Digest>, IngestError> {
        // A still by itself shows too little, as it does alone; the others of its folder are no part of it.
        let Target::File(target) = look.target else { return Ok(None) };
        let Plan { source, rule, .. } = look.plan;
        let key = keys::reference(source, &rule.id(), &look.toolchain.models_digest());
        let known = match site.read_json::<Option<Digest>>(&key).await {
            Err(SiteError::BadObject { .. }) => {
                site.store.delete(&key, None).await.map_err(SiteError::from)?;
                None
            }
            known => known?,
        };
        if let Some(known) = known {
            let is_there = match &known {
                Some(digest) => site.ensure_fresh(&keys::blob(digest)).await?,
                None => true,
            };
            if is_there && site.ensure_fresh(&key).await? {
                return Ok(known);
            }
        }
        let (analyst, plan, target, dir) =
            (self.clone(), look.plan.clone(), target.clone(), look.scratch.join("looks"));
        let learnt = tokio::task::spawn_blocking(move || analyst.learn(&plan, &target, &dir));
        let reference = match learnt.await.map_err(SiteError::from)?? {
            Some(bytes) => Some(site.put_blob(Bytes::from(bytes)).await?),
            None => None,
        };
        site.put_json(&key, &reference).await?;
        Ok(reference)
    }

    fn learn(&self, plan: &Plan, target: &Path, dir: &Path) -> Result<Option<Vec<u8>>, IngestError> {
        let mut builder = ReferenceBuilder::default();
        looks::each(plan, target, dir, &mut |frame, _| {
            let faces = self.with_nets(|nets| nets.track.anchor(&frame.view()))?;
            // Of several faces none is known to be the one; such a frame teaches nothing.
            if let [face] = &faces[..] {
                builder.add(frame.view(), &face.mesh);
            }
            Ok(())
        })?;
        Ok(builder.finish().map(|reference| reference.to_bytes()))
    }

    fn with_nets<T>(&self, work: impl FnOnce(&mut Nets) -> Result<T, VisionError>) -> Result<T, VisionError> {
        let mut nets = self.nets.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if nets.is_none() {
            let (catalog, execution) = (Catalog::builtin()?, Execution::default());
            let (track, eyes) = (TrackNets::load(&catalog, &execution)?, EyeNet::load(&catalog, &execution)?);
            *nets = Some(Nets { track, eyes });
        }
        match nets.as_mut() {
            Some(nets) => work(nets),
            None => Err(VisionError::NotInitialised),
        }
    }
}

async fn read(field: &str, path: &PathBuf) -> Result<Bytes, IngestError> {
    let refuse = |found: String| Refusal::new(field, found, "a photo of at most 64 MiB that can be read");
    let size = tokio::fs::metadata(path).await.map_err(|error| refuse(error.to_string()))?.len();
    if size > PHOTO_MAX {
        return Err(refuse(format!("{size} bytes")).into());
    }
    let bytes = tokio::fs::read(path).await.map_err(|error| refuse(error.to_string()))?;
    Ok(Bytes::from(bytes))
}

/// A network that fails here fails for every job.
fn fatal(error: VisionError) -> SiteError {
    SiteError::Vision(error)
}
