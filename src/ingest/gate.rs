//! The content gate: photos and clips that are nothing for everybody's eyes are refused, where the operator has a network that tells.

use std::fmt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use image::{RgbImage, imageops};
use serde::Deserialize;

use crate::contract::{ClipScores, Digest, GateDecision, PhotoScore, Plan, keys};
use crate::error::Refusal;
use crate::frame::{Frame, Matrix, Pixels, YuvRef};
use crate::site::{Site, SiteError};
use crate::store::Location;
use crate::vision::card::Role;
use crate::vision::gate::GateNet;
use crate::vision::{Catalog, Execution, Model, VisionError};

use super::clip::bring;
use super::{IngestError, Target, looks};

/// Sampled frames of a clip that may be over the threshold: one in so many.
const ONE_IN: usize = 10;
/// Stills of a folder that are judged, at most.
const STILLS: usize = 20;
/// Long side at which a photo is judged, pixels: more than gates look at.
const PHOTO_SIDE: f64 = 1024.0;
/// What a refusal asks for.
const EXPECTED: &str = "a picture for everybody's eyes (the operator of this installation decides)";

/// Whether pictures are judged before work is spent on them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum GateMode {
    /// Where a network of role `gate` is here.
    #[default]
    Auto,
    /// Always: without such a network nothing starts.
    Required,
    /// Never.
    Off,
}

/// The gate of an ingest node; its network is loaded with the first picture that is judged.
#[derive(Clone)]
pub struct Gate {
    model: Option<Model>,
    net: Arc<Mutex<Option<GateNet>>>,
}

/// What has been judged of one job so far, for the audit.
#[derive(Clone, Default)]
pub struct Judged(Arc<Mutex<Option<GateDecision>>>);

impl Judged {
    /// Nothing yet, by this gate.
    pub(super) fn by(gate: &Gate) -> Self {
        let network = gate.network().map(str::to_owned);
        Self(Arc::new(Mutex::new(network.map(|network| GateDecision { network, ..GateDecision::default() }))))
    }

    pub(super) fn photo(&self, score: PhotoScore) {
        self.with(|decision| decision.photos.push(score));
    }

    pub(super) fn clip(&self, scores: ClipScores) {
        self.with(|decision| decision.clip = Some(scores));
    }

    /// All of it.
    pub(super) fn decision(&self) -> Option<GateDecision> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn with(&self, work: impl FnOnce(&mut GateDecision)) {
        if let Some(decision) = &mut *self.0.lock().unwrap_or_else(PoisonError::into_inner) {
            work(decision);
        }
    }
}

impl fmt::Debug for Gate {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Gate").field("network", &self.network()).finish_non_exhaustive()
    }
}

impl Gate {
    /// The gate of this mode: the first network of its role in the catalogue.
    ///
    /// # Errors
    /// [`VisionError::UnknownModel`] if one is required and none is here.
    pub fn open(mode: GateMode, catalog: &Catalog) -> Result<Self, VisionError> {
        let model = match mode {
            GateMode::Off => None,
            GateMode::Auto => catalog.of_role(Role::Gate).ok().cloned(),
            GateMode::Required => Some(catalog.of_role(Role::Gate)?.clone()),
        };
        Ok(Self { model, net: Arc::default() })
    }

    /// Id of its network; none if nothing is judged.
    pub fn network(&self) -> Option<&str> {
        self.model.as_ref().map(|model| model.card.id.as_str())
    }

    /// What a photo scores; none if nothing is judged.
    pub(super) fn judge_photo(&self, field: &str, photo: &RgbImage) -> Result<Option<PhotoScore>, IngestError> {
        if self.model.is_none() {
            return Ok(None);
        }
        let reduction = (f64::from(photo.width().max(photo.height())) / PHOTO_SIDE).max(1.0);
        let side = |side: u32| ((f64::from(side) / reduction).round() as u32).max(1);
        let small = imageops::thumbnail(photo, side(photo.width()), side(photo.height()));
        let planes = Frame::from_rgb(small.width() as usize, small.height() as usize, &small, Matrix::Bt601);
        let scored = self.score(&planes.view()).map_err(SiteError::Vision)?;
        Ok(scored.map(|(score, threshold)| PhotoScore { field: field.to_owned(), score, threshold }))
    }

    /// What the sampled frames of a clip score; none if nothing is judged. A clip is looked at once per network.
    pub(super) async fn judge_clip(
        &self,
        site: &Site,
        plan: &Plan,
        target: &Target,
        scratch: &Path,
    ) -> Result<Option<ClipScores>, IngestError> {
        let Some(model) = &self.model else { return Ok(None) };
        let network = Digest::of(model.digest().map_err(SiteError::Vision)?.as_bytes()).short(8);
        let key = keys::verdict(&plan.source, &plan.rule.id(), &network);
        let known = match site.read_json::<ClipScores>(&key).await {
            Err(SiteError::BadObject { .. }) => None,
            known => known?,
        };
        let verdict = match known {
            Some(known) if site.ensure_fresh(&key).await? => known,
            _ => {
                let verdict = match target {
                    Target::Folder(folder) => self.judge_stills(site, plan, folder, scratch).await?,
                    Target::File(path) => {
                        let (gate, plan, path, dir) = (self.clone(), plan.clone(), path.clone(), scratch.join("gate"));
                        let judged = tokio::task::spawn_blocking(move || gate.judge(&plan, &path, &dir));
                        judged.await.map_err(SiteError::from)??
                    }
                };
                site.put_json(&key, &verdict).await?;
                verdict
            }
        };
        Ok(Some(verdict))
    }

    fn judge(&self, plan: &Plan, target: &Path, dir: &Path) -> Result<ClipScores, IngestError> {
        let mut verdict = ClipScores::default();
        looks::each(plan, target, dir, &mut |frame, seconds| {
            count(&mut verdict, self.score(&frame.view())?, seconds);
            Ok(())
        })?;
        Ok(verdict)
    }

    /// Of a folder some stills are judged, spread over it; each counts as a frame, one a second.
    async fn judge_stills(
        &self,
        site: &Site,
        plan: &Plan,
        folder: &Location,
        scratch: &Path,
    ) -> Result<ClipScores, IngestError> {
        let mut verdict = ClipScores::default();
        let stills = &plan.clip.stills;
        let judged = stills.len().min(STILLS);
        for number in (0..judged).map(|number| number * stills.len() / judged) {
            let still = stills[number].clone();
            let place = folder.file_in(&still.name).to_string();
            let path = bring(site, "target", &place, &scratch.join("judged")).await?;
            let (gate, dir) = (self.clone(), scratch.join("gate"));
            let looked = tokio::task::spawn_blocking(move || {
                let mut score = None;
                looks::still(&still.clip, &path, &dir, &mut |frame| {
                    score = gate.score(&frame.view())?;
                    Ok(())
                })?;
                Ok::<_, IngestError>(score)
            });
            count(&mut verdict, looked.await.map_err(SiteError::from)??, number as f64);
        }
        Ok(verdict)
    }

    /// A picture's score and the threshold; none if nothing is judged.
    fn score(&self, picture: &YuvRef<'_>) -> Result<Option<(f64, f64)>, VisionError> {
        let Some(model) = &self.model else { return Ok(None) };
        let mut net = self.net.lock().unwrap_or_else(PoisonError::into_inner);
        let net = match &mut *net {
            Some(net) => net,
            none => none.insert(GateNet::load(model, &Execution::default())?),
        };
        Ok(Some((net.score(picture)?, net.threshold())))
    }
}

/// One more picture, with its score and the threshold.
fn count(scores: &mut ClipScores, judged: Option<(f64, f64)>, at: f64) {
    let Some((score, threshold)) = judged else { return };
    scores.frames += 1;
    scores.over += usize::from(score >= threshold);
    if score > scores.worst {
        (scores.worst, scores.at) = (score, at);
    }
}

/// Refuses a photo over the threshold.
pub(super) fn check_photo(judged: &PhotoScore) -> Result<(), Refusal> {
    let PhotoScore { field, score, threshold } = judged;
    match score < threshold {
        true => Ok(()),
        false => Err(Refusal::new(field, format!("content that scores {score:.2} of {threshold:.2}"), EXPECTED)),
    }
}

/// Refuses a clip of whose sampled frames more than one in ten are over the threshold.
pub(super) fn check_clip(scores: &ClipScores, is_folder: bool) -> Result<(), Refusal> {
    let ClipScores { frames, over, worst, at } = scores;
    if over * ONE_IN <= *frames {
        return Ok(());
    }
    let place = if is_folder { format!("still {at}") } else { format!("{at:.3} s") };
    let found =
        format!("content: {over} of {frames} sampled frames are over the threshold, up to {worst:.2} at {place}");
    Err(Refusal::new("target", found, EXPECTED))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vision::testing::{self, tiny, tiny::Gives};

    #[test]
    fn one_sampled_frame_in_ten_may_be_over() {
        let verdict = |over, frames| ClipScores { frames, over, worst: 0.9, at: 2.5 };
        for (over, frames, is_refused) in [(0, 20, false), (2, 20, false), (3, 20, true), (1, 1, true), (0, 0, false)] {
            assert_eq!(check_clip(&verdict(over, frames), false).is_err(), is_refused, "{over} of {frames}");
        }
        let refusal = check_clip(&verdict(3, 20), false).unwrap_err();
        assert_eq!(refusal.field, "target");
        assert!(
            refusal.found.contains("3 of 20 sampled frames") && refusal.found.contains("2.500 s"),
            "{}",
            refusal.found
        );
    }

    #[test]
    fn a_photo_over_the_threshold_is_refused() {
        testing::init();
        let folder = tempfile::tempdir().unwrap();
        let photo = RgbImage::new(3000, 20);
        for (scores, is_refused) in [(vec![9.0, 0.0], true), (vec![0.0, 9.0], false)] {
            tiny::write(&Catalog::builtin().unwrap(), "nsfw_2", folder.path(), &[Gives::Values(scores)], None);
            let gate = Gate::open(GateMode::Required, &Catalog::open(folder.path()).unwrap()).unwrap();
            assert_eq!(gate.network(), Some("nsfw_2"));
            let found = gate.judge_photo("sources[0]", &photo).unwrap().unwrap();
            assert_eq!(check_photo(&found).is_err(), is_refused, "{found:?}");
            let off = Gate::open(GateMode::Off, &Catalog::open(folder.path()).unwrap()).unwrap();
            assert_eq!(off.judge_photo("sources[0]", &photo).unwrap(), None);
        }
    }

    #[test]
    fn a_gate_that_is_required_must_be_here() {
        let catalog = Catalog::builtin().unwrap();
        assert_eq!(Gate::open(GateMode::Auto, &catalog).unwrap().network(), None);
        assert_eq!(Gate::open(GateMode::Off, &catalog).unwrap().network(), None);
        let error = Gate::open(GateMode::Required, &catalog).err().unwrap().to_string();
        assert!(error.contains("of role gate") && error.contains("open_nsfw"), "{error}");
    }
}
