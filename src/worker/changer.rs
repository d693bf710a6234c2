//! What a lane needs to change faces: networks, kept from one chunk to the next, and what it knows of the photos of a job.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::contract::{ChunkSpec, Digest, PersonSpec, Swap, Swapper, WhoSpec};
use crate::frame::Pixels;
use crate::photo;
use crate::toolchain;
use crate::vision::chain::{Chain, ChainSettings, Scene};
use crate::vision::detect::DetectorSettings;
use crate::vision::recogniser::Recogniser;
use crate::vision::source::Source;
use crate::vision::swap::{EyeNet, MeshSwapper, Portrait, Reference};
use crate::vision::turn::TurnNet;
use crate::vision::{self, Catalog, TrackNets, VisionError};

use super::cast::{Cast, Part};
use super::lane::{LaneOrder, Means, Tracked, WorkError};
use super::shelf::Shelf;

/// What changes faces: `mesh` (of each person), a chain of networks, or both; and who gets whose.
pub struct Changer {
    cast: Cast,
    meshes: Vec<MeshSwapper>,
    chain: Option<Chain>,
}

impl Changer {
    /// Frames that are changed together, at most.
    pub fn batch(&self) -> usize {
        self.chain.as_ref().map_or(1, Chain::batch)
    }

    /// Changes the faces of some frames that are to be; how many there were in each.
    pub fn change(
        &mut self,
        frames: &mut [Tracked],
        blend_ratio: f32,
        reference: Option<&Reference>,
    ) -> Result<Vec<u64>, VisionError> {
        let (mut counts, mut scenes) = (Vec::with_capacity(frames.len()), Vec::with_capacity(frames.len()));
        for Tracked { number, frame, faces } in frames {
            let chosen = self.cast.assign(&frame.view(), faces)?;
            let mut changed = Vec::with_capacity(chosen.len());
            for (face, person) in chosen {
                let is_shown = match self.meshes.get_mut(person) {
                    Some(mesh) => mesh.swap(&mut frame.view_mut(), &faces[face], blend_ratio, reference)?,
                    None => true,
                };
                // What `mesh` leaves alone (a profile) a restorer does not touch either.
                changed.extend(is_shown.then_some((face, person)));
            }
            counts.push(changed.len() as u64);
            let faces = changed.into_iter().map(|(face, person)| (&faces[face], person)).collect();
            scenes.push(Scene { number: *number, frame: frame.view_mut(), faces });
        }
        if let Some(chain) = &mut self.chain {
            chain.change(&mut scenes, blend_ratio)?;
        }
        Ok(counts)
    }
}

/// Digests of networks: what is kept of others is not used.
type Models = BTreeMap<String, Digest>;

/// Digests of photos, what is done with them, and by which networks.
type Lender = (Vec<Digest>, Vec<PersonSpec>, Swap, Models);

/// What a lane keeps from one chunk to the next; none of it changes a result.
#[derive(Default)]
pub struct Kept {
    /// The networks that a job named, of all that is kept here; none before the first.
    models: Option<Models>,
    /// The networks that follow faces, and which detector is among them.
    track_nets: Option<(DetectorSettings, TrackNets)>,
    /// The built-in ones, for photos, where clips have another detector.
    photo_nets: Option<TrackNets>,
    eyes: Option<EyeNet>,
    /// A chain that nobody uses at the moment, and what it does.
    chain: Option<(ChainSettings, Chain)>,
    /// The changer of the last chunk, and what it does.
    changer: Option<(Lender, Changer)>,
}

impl Kept {
    /// Loads the networks of a swapper and the built-in ones.
    pub fn warm_up(&mut self, means: &Means) -> Result<(), VisionError> {
        if means.swapper != Swapper::None {
            let usual = DetectorSettings::default();
            self.track_nets = Some((usual.clone(), load_track_nets(means, &usual)?));
        }
        match &means.swapper {
            Swapper::None => {}
            Swapper::Mesh => self.eyes = Some(load_eyes(means)?),
            Swapper::Network(_) => {
                let swap = Swap { swapper: means.swapper.clone(), ..Swap::default() };
                if let Some(settings) = toolchain::chain(&swap) {
                    self.chain = Some((settings.clone(), load_chain(means, &settings)?));
                }
            }
        }
        Ok(())
    }

    /// What follows and what changes the faces of an order's frames; [`Kept::put_back`] takes them when the chunk is done.
    pub fn take(&mut self, means: &Means, order: &LaneOrder) -> Result<(TrackNets, Changer), WorkError> {
        // Files of the models folder may have been replaced since: then everything is loaded anew, and checked.
        let models = &order.spec.toolchain.models;
        if self
            .models
            .as_ref()
            .is_some_and(|known| known.iter().any(|(id, digest)| models.get(id).is_some_and(|now| now != digest)))
        {
            *self = Self::default();
        }
        check_models(means, &order.spec)?;
        self.models.get_or_insert_default().extend(models.clone());
        let detector = toolchain::detector(&order.spec.swap);
        let mut track_nets = match self.track_nets.take() {
            Some((known, nets)) if known == detector => nets,
            _ => load_track_nets(means, &detector)?,
        };
        // Only `mesh` asks how heads are turned.
        track_nets.turn = match (&order.spec.swap.swapper, track_nets.turn.take()) {
            (Swapper::Mesh, None) => Some(TurnNet::load(&Catalog::builtin()?, &means.execution)?),
            (Swapper::Mesh, loaded) => loaded,
            _ => None,
        };
        let changer = match self.changer.take() {
            Some((last, changer)) if last == lender(&order.spec) => Some(changer),
            // Other photos, or another swap: networks that do the same go on.
            Some(((_, _, swap, _), Changer { chain: Some(chain), .. })) => {
                self.chain = toolchain::chain(&swap).map(|settings| (settings, chain));
                None
            }
            _ => None,
        };
        let changer = match changer {
            Some(changer) => changer,
            None if detector == DetectorSettings::default() => self.new_changer(means, order, &mut track_nets)?,
            None => {
                let mut photo_nets = match self.photo_nets.take() {
                    Some(nets) => nets,
                    None => load_track_nets(means, &DetectorSettings::default())?,
                };
                let changer = self.new_changer(means, order, &mut photo_nets);
                self.photo_nets = Some(photo_nets);
                changer?
            }
        };
        Ok((track_nets, changer))
    }

    /// Keeps what [`Kept::take`] gave.
    pub fn put_back(&mut self, spec: &ChunkSpec, track_nets: TrackNets, changer: Changer) {
        self.track_nets = Some((toolchain::detector(&spec.swap), track_nets));
        self.changer = Some((lender(spec), changer));
    }

    /// What does the order's swap with the order's photos.
    fn new_changer(
        &mut self,
        means: &Means,
        order: &LaneOrder,
        track_nets: &mut TrackNets,
    ) -> Result<Changer, WorkError> {
        let swap = &order.spec.swap;
        let mut chain = match (self.chain.take(), toolchain::chain(swap)) {
            (Some((known, chain)), Some(wanted)) if known == wanted => Some(chain),
            (_, Some(wanted)) => Some(load_chain(means, &wanted)?),
            (_, None) => None,
        };
        let mut photos =
            Photos { spec: &order.spec, files: &order.photos, track_nets, shelf: Shelf::new(means.shelf()) };
        let everybody = PersonSpec {
            who: WhoSpec::Position(0),
            portraits: order.spec.portraits.clone(),
            source_face: swap.source_face,
        };
        let people = if order.spec.people.is_empty() { std::slice::from_ref(&everybody) } else { &order.spec.people };
        // Who is looked for.
        let (mut parts, mut recogniser) = (Vec::new(), None);
        for person in people {
            parts.push(match &person.who {
                _ if order.spec.people.is_empty() => Part::Anyone(swap.faces),
                WhoSpec::Position(place) => Part::Position(*place as usize),
                WhoSpec::Reference { photo, face, distance } => {
                    let recogniser = match &mut recogniser {
                        Some(loaded) => loaded,
                        None => recogniser.insert(load_recogniser(means)?),
                    };
                    Part::Like { embedding: photos.embedding(photo, *face, recogniser)?, least: 1.0 - distance }
                }
            });
        }
        // And whose photos lend.
        let (mut meshes, mut lent) = (Vec::new(), Vec::new());
        for person in people {
            match (&swap.swapper, &mut chain) {
                (Swapper::Mesh, _) => {
                    let mut eyes = match self.eyes.take() {
                        Some(eyes) => eyes,
                        None => load_eyes(means)?,
                    };
                    let portrait = |photo| photos.portrait(photo, person.source_face, &mut eyes);
                    let portraits = person.portraits.iter().map(portrait).collect::<Result<Vec<_>, _>>()?;
                    meshes.push(MeshSwapper::new(portraits, eyes)?);
                }
                (_, Some(chain)) => lent.push(photos.lent(person, chain)?),
                (_, None) => {}
            }
        }
        if let Some(chain) = &mut chain {
            chain.set_lent(lent);
        }
        Ok(Changer { cast: Cast::new(parts, swap.face_order, recogniser), meshes, chain })
    }
}

fn lender(spec: &ChunkSpec) -> Lender {
    (spec.portraits.clone(), spec.people.clone(), spec.swap.clone(), spec.toolchain.models.clone())
}

/// The photos of a chunk, and what is known of them.
struct Photos<'a> {
    spec: &'a ChunkSpec,
    files: &'a BTreeMap<Digest, PathBuf>,
    track_nets: &'a mut TrackNets,
    shelf: Shelf,
}

impl Photos<'_> {
    /// A photo, analysed for `mesh`.
    fn portrait(&mut self, photo: &Digest, face: Option<u32>, eyes: &mut EyeNet) -> Result<Portrait, WorkError> {
        let pixels = self.read(photo)?;
        let key = self.key("portrait", std::slice::from_ref(photo), face);
        if let Some(portrait) = self.shelf.get(&key).and_then(|known| Portrait::known(&pixels, &known)) {
            return Ok(portrait);
        }
        let learnt = Portrait::learn(&pixels, self.track_nets, eyes, face.map(|face| face as usize))?;
        self.shelf.put(&key, &learnt);
        Ok(Portrait::known(&pixels, &learnt).ok_or(VisionError::NoFace)?)
    }

    /// Whom a photo shows.
    fn embedding(
        &mut self,
        photo: &Digest,
        face: Option<u32>,
        recogniser: &mut Recogniser,
    ) -> Result<Vec<f32>, WorkError> {
        let key = self.key("embedding", std::slice::from_ref(photo), face);
        if let Some(known) = self.shelf.get(&key) {
            return Ok(known);
        }
        let source = self.find(photo, face)?;
        let embedding = recogniser.of_source(&source)?;
        self.shelf.put(&key, &embedding);
        Ok(embedding)
    }

    /// What a person's photos lend to a chain.
    fn lent(&mut self, person: &PersonSpec, chain: &mut Chain) -> Result<Vec<f32>, WorkError> {
        let key = self.key("lent", &person.portraits, person.source_face);
        if let Some(known) = self.shelf.get(&key) {
            return Ok(known);
        }
        let find = |photo| self.find(photo, person.source_face);
        let sources = person.portraits.iter().map(find).collect::<Result<Vec<_>, _>>()?;
        let lent = chain.lend(&sources)?;
        self.shelf.put(&key, &lent);
        Ok(lent)
    }

    fn find(&mut self, photo: &Digest, face: Option<u32>) -> Result<Source, WorkError> {
        Ok(Source::find(&self.read(photo)?, self.track_nets, face.map(|face| face as usize))?)
    }

    fn read(&self, photo: &Digest) -> Result<image::RgbImage, WorkError> {
        let path = self.files.get(photo).ok_or_else(|| WorkError::NoPhoto { digest: *photo })?;
        Ok(photo::decode(&std::fs::read(path)?)?)
    }

    /// The name of what the job's networks learn of photos.
    fn key(&self, what: &str, photos: &[Digest], face: Option<u32>) -> Digest {
        let toolchain = &self.spec.toolchain;
        let swap = &self.spec.swap;
        Digest::of_json(&(
            what,
            photos,
            face,
            &swap.swapper,
            &toolchain.models,
            &toolchain.provider,
            toolchain.pipeline,
        ))
    }
}

/// The networks of a swap that are not built in.
fn load_chain(means: &Means, settings: &ChainSettings) -> Result<Chain, VisionError> {
    vision::model::init(&means.onnxruntime)?;
    Chain::load(&Catalog::open(&means.models)?, settings, &means.execution)
}

/// The networks that are here must be those by which the result is named.
pub fn check_models(means: &Means, spec: &ChunkSpec) -> Result<(), VisionError> {
    let catalog = Catalog::open(&means.models)?;
    for (id, digest) in &spec.toolchain.models {
        let model = catalog.any(id)?;
        let (found, expected) = (model.identity()?, digest.to_string());
        if found != expected {
            return Err(VisionError::Digest { id: id.clone(), file: model.card.file, expected, found });
        }
    }
    Ok(())
}

fn load_track_nets(means: &Means, detector: &DetectorSettings) -> Result<TrackNets, VisionError> {
    vision::model::init(&means.onnxruntime)?;
    let catalog = match detector.id {
        Some(_) => Catalog::open(&means.models)?,
        None => Catalog::builtin()?,
    };
    TrackNets::load_with(&catalog, detector, &means.execution)
}

fn load_eyes(means: &Means) -> Result<EyeNet, VisionError> {
    vision::model::init(&means.onnxruntime)?;
    EyeNet::load(&Catalog::builtin()?, &means.execution)
}

fn load_recogniser(means: &Means) -> Result<Recogniser, VisionError> {
    let catalog = Catalog::open(&means.models)?;
    Recogniser::load(catalog.get(toolchain::RECOGNISER)?, &means.execution)
}
