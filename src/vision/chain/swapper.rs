//! The network that gives a face another identity.

use crate::frame::Pixels as _;
use crate::vision::aligned::boost;
use crate::vision::aligned::crop::Aligned;
use crate::vision::aligned::template::Template;
use crate::vision::aligned::{self};
use crate::vision::card::{Card, Role};
use crate::vision::catalog::{Catalog, Model, Weights};
use crate::vision::contract::{self, Contract, EmbeddingForm};
use crate::vision::error::VisionError;
use crate::vision::feed::Feed;
use crate::vision::model::{Execution, Network, Tensor};
use crate::vision::onnx::Onnx;
use crate::vision::recogniser::{self, Recogniser};
use crate::vision::source::Source;

use super::{Place, Scene};

/// Largest face size: multiples of the network's own side.
const MULTIPLE_MAX: usize = 8;

/// A new face in its crop.
pub(super) struct NewFace {
    pub face: Aligned,
    /// The network's own mask, of the crop's side.
    pub mask: Option<Vec<f32>>,
}

/// What the network makes of one crop of its own side.
struct Made {
    rgb: Vec<f32>,
    mask: Option<Vec<f32>>,
}

pub(super) struct FaceSwapper {
    network: Network,
    contract: contract::Swapper,
    template: Template,
    target: Feed,
    /// Face size over the network's own side.
    multiple: usize,
    identity: Identity,
    /// What the network gets of each person.
    lent: Vec<Vec<f32>>,
    /// Indices in the card.
    target_input: usize,
    face_output: usize,
    mask_output: Option<usize>,
}

/// How the source's identity is made.
enum Identity {
    Embedding { recogniser: Box<Recogniser>, form: Form },
    Crop { template: Template, feed: Feed },
}

enum Form {
    Normalised,
    /// A square matrix, row by row.
    Projected(Vec<f32>),
    Converted {
        converter: Box<Network>,
        length: usize,
        normalised: bool,
    },
}

impl FaceSwapper {
    pub(super) fn load(
        catalog: &Catalog,
        id: &str,
        face_size: Option<u32>,
        execution: &Execution,
    ) -> Result<Self, VisionError> {
        let model = catalog.of(Role::Swapper, id)?;
        let card = &model.card;
        let Some(Contract::Swapper(contract)) = card.contract.clone() else {
            return Err(card.refuse("has no [contract.swapper]".to_owned()));
        };
        let template = named_template(card.template.as_deref())
            .ok_or_else(|| card.refuse("has no template, which every swapper has".to_owned()))?;
        let target_input = card.input_index(&contract.target)?;
        let target = Feed::of(card, card.picture()?, target_input)?;
        let multiple = check_face_size(card, face_size)?;
        let network = Network::load(&model, execution)?;
        let identity = Identity::load(catalog, &model, &contract.source, execution)?;
        Ok(Self {
            face_output: card.output_index(&contract.face.output)?,
            mask_output: contract.mask.as_ref().map(|mask| card.output_index(mask)).transpose()?,
            network,
            contract,
            template,
            target,
            multiple,
            identity,
            lent: Vec::new(),
            target_input,
        })
    }

    pub(super) fn template(&self) -> Template {
        self.template
    }

    /// What the network gets of one person's photos.
    pub(super) fn lend(&mut self, sources: &[Source]) -> Result<Vec<f32>, VisionError> {
        self.identity.of(sources)
    }

    pub(super) fn set_lent(&mut self, lent: Vec<Vec<f32>>) {
        self.lent = lent;
    }

    /// Faces of one run, at most.
    pub(super) fn batch(&self) -> usize {
        self.network.batch()
    }

    /// The new faces, each for the one at its place.
    pub(super) fn swap(&mut self, scenes: &[Scene<'_, '_>], places: &[Place<'_>]) -> Result<Vec<NewFace>, VisionError> {
        let (own, side) = (self.target.side(), self.target.side() * self.multiple);
        let mut faces: Vec<Aligned> = Vec::with_capacity(places.len());
        // Of each face its parts, all of the same person.
        let (mut parts, mut people) = (Vec::new(), Vec::new());
        for place in places {
            if place.person >= self.lent.len() {
                return Err(VisionError::NoFace);
            }
            let to_picture = self.template.to_picture(side as f64, &place.points);
            let mut face = Aligned::sample(&place.picture(scenes), to_picture, side);
            match self.multiple {
                1 => parts.push(std::mem::take(&mut face.rgb)),
                multiple => parts.extend(boost::split(&face.rgb, own, multiple)),
            }
            people.resize(parts.len(), place.person);
            faces.push(face);
        }
        let mut made = self.run(&parts, &people)?.into_iter();
        let joined = faces.into_iter().map(|mut face| {
            let parts: Vec<Made> = made.by_ref().take(self.multiple * self.multiple).collect();
            // Each part shows the whole face, a pixel's share apart.
            let mask =
                parts.first().and_then(|part| part.mask.as_ref()).map(|mask| aligned::mask::resize(mask, own, side));
            let mut rgb: Vec<Vec<f32>> = parts.into_iter().map(|part| part.rgb).collect();
            face.rgb = match self.multiple {
                1 => rgb.swap_remove(0),
                multiple => boost::join(&rgb, own, multiple),
            };
            NewFace { face, mask }
        });
        Ok(joined.collect())
    }

    /// What the network makes of crops of its own side, each with the number of the person whose it becomes.
    fn run(&mut self, parts: &[Vec<f32>], people: &[usize]) -> Result<Vec<Made>, VisionError> {
        let own = self.target.side();
        let mut made: Vec<Made> = Vec::with_capacity(parts.len());
        for run in self.network.runs(parts.len()) {
            let rows: Vec<&[f32]> = run.places().map(|row| &parts[row][..]).collect();
            let (shape, data) = self.target.pictures(&rows);
            let target = Tensor { shape: &shape, data };
            let lent: Vec<f32> = run.places().flat_map(|row| &self.lent[people[row]]).copied().collect();
            let lent_shape = self.identity.shape(run.size, lent.len());
            let source = Tensor { shape: &lent_shape, data: &lent };
            let inputs = if self.target_input == 0 { [target, source] } else { [source, target] };
            let outputs = self.network.run(&inputs)?;
            let contract::Pixels { gain, shift, .. } = self.contract.face;
            let pixels = outputs.finite(self.face_output, run.size * 3 * own * own)?;
            let to_rgb = |row: &[f32]| row.iter().map(|element| (element * gain + shift).clamp(0.0, 255.0)).collect();
            let of_row = |row: &[f32]| Made { rgb: to_rgb(row), mask: None };
            made.extend(pixels.chunks_exact(3 * own * own).take(run.rows.len()).map(of_row));
            if let Some(output) = self.mask_output {
                let shares = outputs.finite(output, run.size * own * own)?;
                for (made, row) in made[run.rows].iter_mut().zip(shares.chunks_exact(own * own)) {
                    made.mask = Some(row.iter().map(|share| share.clamp(0.0, 1.0)).collect());
                }
            }
        }
        Ok(made)
    }
}

/// How many times its own side a swapper works at.
pub(super) fn check_face_size(card: &Card, face_size: Option<u32>) -> Result<usize, VisionError> {
    let Some(size) = face_size.map(|size| size as usize) else { return Ok(1) };
    let Some(Contract::Swapper(contract)) = &card.contract else { return Ok(1) };
    let side = Feed::of(card, card.picture()?, card.input_index(&contract.target)?)?.side();
    match size.is_multiple_of(side) && (1..=MULTIPLE_MAX).contains(&(size / side)) {
        true => Ok(size / side),
        false => Err(VisionError::FaceSize { id: card.id.clone(), size, side }),
    }
}

impl Identity {
    fn load(
        catalog: &Catalog,
        model: &Model,
        source: &contract::Source,
        execution: &Execution,
    ) -> Result<Self, VisionError> {
        let card = &model.card;
        match source {
            contract::Source::Crop { input, template, picture } => {
                let template = named_template(Some(template))
                    .ok_or_else(|| card.refuse("its source has no template".to_owned()))?;
                Ok(Self::Crop { template, feed: Feed::of(card, picture, card.input_index(input)?)? })
            }
            contract::Source::Embedding { recogniser, form, .. } => {
                let form = match form {
                    EmbeddingForm::Normalised => Form::Normalised,
                    EmbeddingForm::Projected => Form::Projected(projection(model)?),
                    EmbeddingForm::Converted(id) => Form::converted(catalog, id, false, execution)?,
                    EmbeddingForm::ConvertedNormalised(id) => Form::converted(catalog, id, true, execution)?,
                };
                let recogniser = Recogniser::load(&catalog.of(Role::Recogniser, recogniser)?, execution)?;
                Ok(Self::Embedding { recogniser: Box::new(recogniser), form })
            }
        }
    }

    /// The shape of so many rows with so many elements in all.
    fn shape(&self, rows: usize, elements: usize) -> Vec<usize> {
        match self {
            Self::Crop { feed, .. } => feed.shape(rows).to_vec(),
            Self::Embedding { .. } => vec![rows, elements / rows],
        }
    }

    /// What a swapper gets of one person's photos: of embeddings the mean, of crops the largest face's.
    fn of(&mut self, sources: &[Source]) -> Result<Vec<f32>, VisionError> {
        match self {
            Self::Crop { template, feed } => {
                let widest = |a: &&Source, b: &&Source| a.face.mesh.face_width().total_cmp(&b.face.mesh.face_width());
                let source = sources.iter().max_by(widest).ok_or(VisionError::NoFace)?;
                let to_picture = template.to_picture(feed.side() as f64, &source.face.mesh.five_points());
                let crop = Aligned::sample(&source.photo.view(), to_picture, feed.side());
                Ok(feed.pictures(&[&crop.rgb]).1.to_vec())
            }
            Self::Embedding { recogniser, form } => {
                let embeddings = sources.iter().map(|source| recogniser.of_source(source));
                let embeddings = embeddings.collect::<Result<Vec<_>, _>>()?;
                form.of(&recogniser::mean(&embeddings).ok_or(VisionError::NoFace)?)
            }
        }
    }
}

impl Form {
    fn converted(catalog: &Catalog, id: &str, normalised: bool, execution: &Execution) -> Result<Self, VisionError> {
        let model = catalog.of(Role::Converter, id)?;
        let length = model.card.outputs[0].elements();
        let length = length.ok_or_else(|| model.card.refuse("its output has no fixed length".to_owned()))?;
        Ok(Self::Converted { converter: Box::new(Network::load(&model, execution)?), length, normalised })
    }

    fn of(&mut self, embedding: &[f32]) -> Result<Vec<f32>, VisionError> {
        match self {
            Self::Normalised => Ok(recogniser::normalised(embedding)),
            Self::Projected(matrix) => Ok(aligned::project(embedding, matrix)),
            Self::Converted { converter, length, normalised } => {
                let input = Tensor { shape: &[1, embedding.len()], data: embedding };
                let converted = converter.run(&[input])?.finite(0, *length)?.into_owned();
                Ok(if *normalised { recogniser::normalised(&converted) } else { converted })
            }
        }
    }
}

/// The square matrix at the end of a swapper's graph, as long as its embedding.
fn projection(model: &Model) -> Result<Vec<f32>, VisionError> {
    let Weights::File(path) = &model.weights else {
        return Err(model.card.refuse("a network that is built in has no projection".to_owned()));
    };
    let unreadable = |error| VisionError::Unreadable { path: path.clone(), error };
    let (side, matrix) = Onnx::open(path).and_then(|mut onnx| onnx.last_matrix()).map_err(unreadable)?;
    let lengths = model.card.inputs.iter().filter_map(|spec| match spec.shape[..] {
        [_, ref length] => length.fixed(),
        _ => None,
    });
    match lengths.clone().any(|length| length == side) {
        true => Ok(matrix),
        false => Err(model.card.refuse(format!(
            "the last initializer of {} is {side}x{side} (expected the length of its embedding, {:?})",
            model.card.file,
            lengths.collect::<Vec<_>>()
        ))),
    }
}

fn named_template(name: Option<&str>) -> Option<Template> {
    name.and_then(Template::from_name)
}
