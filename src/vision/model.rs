//! ONNX Runtime: the library, and networks that run on it. With its two parts the only user of `ort`.
//!
//! Level and library version are pinned because they change bits (meshes of two optimisation levels differ by 8e-5
//! px); the number of threads does not.

mod engines;
mod session;
mod trial;

use std::borrow::Cow;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock, PoisonError};

use ort::environment::Environment;
use ort::session::{Session, SessionInputValue, SessionOutputs};
use ort::value::{DynValue, Outlet, TensorElementType, TensorRef, Value};
use tracing::{debug, error};

use super::card::{Card, Dimension, Element, TensorSpec};
use super::catalog::{Model, Weights};
use super::error::VisionError;
use super::execution::ProviderKind;
use engines::Engines;

pub use super::execution::Execution;
pub use trial::try_provider;

/// One environment per process, for its whole life.
static ENVIRONMENT: OnceLock<Environment> = OnceLock::new();

/// Where it was loaded from.
static LIBRARY: OnceLock<PathBuf> = OnceLock::new();

/// Loads ONNX Runtime from `library`. Calling it again, with whatever path, changes nothing.
///
/// # Errors
/// [`VisionError::Library`] if the file is missing, is no ONNX Runtime or too old a one.
pub fn init(library: &Path) -> Result<(), VisionError> {
    static LOADING: Mutex<()> = Mutex::new(());
    let _one_at_a_time = LOADING.lock().unwrap_or_else(PoisonError::into_inner);
    if ENVIRONMENT.get().is_some() {
        return Ok(());
    }
    let environment = open(library)?;
    ENVIRONMENT.get_or_init(|| environment);
    LIBRARY.get_or_init(|| library.to_owned());
    Ok(())
}

fn open(library: &Path) -> Result<Environment, VisionError> {
    let refuse = |reason: String| VisionError::Library { path: library.to_owned(), reason, needed: ort::MINOR_VERSION };
    if !library.is_file() {
        return Err(refuse("no such file".to_owned()));
    }
    let builder = ort::init_from(library).map_err(|error| refuse(error.to_string()))?;
    builder.with_name("facemill").with_telemetry(false).build().map_err(|error| refuse(error.to_string()))
}

/// One input: a shape and its elements, outermost dimension first.
#[derive(Clone, Copy)]
pub struct Tensor<'a> {
    /// Dimensions.
    pub shape: &'a [usize],
    /// As many elements as the product of `shape`.
    pub data: &'a [f32],
}

/// A network that is ready to run. Each lane has its own.
pub struct Network {
    id: String,
    session: Session,
    /// Names in the file, in the order of the card.
    inputs: Vec<String>,
    elements: Vec<Element>,
    outputs: Vec<String>,
    /// Rows of one run, at most.
    batch: usize,
    /// Every run has so many: those that are missing are made up.
    is_filled: bool,
}

/// One run of a network over several rows (crops, mostly).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    /// Which of the rows.
    pub rows: Range<usize>,
    /// How many the network gets: at least as many; the last row stands in for those that are missing.
    pub size: usize,
}

impl Run {
    /// The number of the row at each place.
    pub fn places(&self) -> impl Iterator<Item = usize> + use<> {
        let (start, end, last) = (self.rows.start, self.rows.start + self.size, self.rows.end - 1);
        (start..end).map(move |place| place.min(last))
    }
}

/// What a run gave; borrows ONNX Runtime's buffers.
pub struct Outputs<'r> {
    id: &'r str,
    names: &'r [String],
    values: SessionOutputs<'r>,
}

impl Network {
    /// Loads a network, on the first provider of its role's order that takes it, and checks it against its card, a file in the models folder
    /// also by its digest. Other than on the processor it runs once, so that what a provider makes of it (engines, choice of algorithms) is
    /// there before the first frame.
    ///
    /// # Errors
    /// [`VisionError::NotInitialised`] before [`init`]; [`VisionError::Digest`]; [`VisionError::Network`] if the file is no network that ONNX
    /// Runtime can run; [`VisionError::Tensor`] if its inputs or outputs are not those of the card.
    pub fn load(model: &Model, execution: &Execution) -> Result<Self, VisionError> {
        let card = &model.card;
        let environment = ENVIRONMENT.get().ok_or(VisionError::NotInitialised)?;
        if matches!(model.weights, Weights::File(_)) {
            model.verify_digest()?;
        }
        let order = execution.providers.of(card.role);
        let mut refused: Option<VisionError> = None;
        for provider in order.providers() {
            if let Some(reason) = &refused {
                // Aloud, also where warnings are not shown: it is slower than was hoped.
                error!("{reason}; it runs on {provider} instead");
            }
            let is_cpu = provider.kind == ProviderKind::Cpu;
            let load = |engines: Option<&Path>| {
                let session = session::open(environment, &model.weights, provider, execution.threads, engines);
                let session = session.map_err(|error| network_error("load", &card.id, &error))?;
                let mut network = Self::of(card, session, is_cpu)?;
                if !is_cpu {
                    network.warm_up(card)?;
                }
                Ok(network)
            };
            let loaded = match (&execution.engines, is_cpu) {
                (Some(folder), false) => Engines::open(folder, provider, &model.digest()?).load(load),
                _ => load(None),
            };
            match loaded {
                Ok(network) => {
                    debug!(network = card.id, %provider, "loaded");
                    return Ok(network);
                }
                Err(error @ VisionError::Network { .. }) if !is_cpu => {
                    refused = Some(VisionError::OnProvider { provider: provider.to_string(), error: Box::new(error) });
                }
                Err(error) => return Err(error),
            }
        }
        Err(refused.unwrap_or(VisionError::NotInitialised))
    }

    fn of(card: &Card, session: Session, is_cpu: bool) -> Result<Self, VisionError> {
        let inputs = find_tensors(card, "input", &card.inputs, session.inputs())?;
        let outputs = find_tensors(card, "output", &card.outputs, session.outputs())?;
        let elements = card.inputs.iter().map(|spec| spec.element).collect();
        // Exports of one network differ in whether they leave the number of rows free.
        let in_file = session.inputs().iter().filter_map(outlet_spec).filter_map(|spec| spec.fixed_batch()).max();
        // The processor gains nothing from several rows at once, and may round otherwise.
        let is_free = in_file.is_none() && card.has_free_batch();
        let batch = in_file.unwrap_or(if is_cpu && is_free { 1 } else { card.batch() });
        let is_filled = !is_cpu || !is_free;
        Ok(Self { id: card.id.clone(), inputs, elements, outputs, session, batch, is_filled })
    }

    /// How so many rows are run: as many at once as the card says. Where each run must have the same shape (a card that fixes it; other
    /// than on the processor, where a shape of its own costs an engine, and may change bits) the last is filled up.
    pub fn runs(&self, rows: usize) -> impl Iterator<Item = Run> + use<> {
        let (batch, is_filled) = (self.batch, self.is_filled);
        (0..rows).step_by(batch).map(move |start| {
            let end = rows.min(start + batch);
            Run { rows: start..end, size: if is_filled { batch } else { end - start } }
        })
    }

    /// Rows of one run, at most.
    pub fn batch(&self) -> usize {
        self.batch
    }

    /// One run on zeros, if the card tells all sizes.
    fn warm_up(&mut self, card: &Card) -> Result<(), VisionError> {
        let batch = self.batch;
        let sizes = |spec: &TensorSpec| -> Option<Vec<usize>> {
            let mut sizes: Vec<Option<usize>> = spec.shape.iter().map(Dimension::fixed).collect();
            if let Some(first) = sizes.first_mut() {
                *first = first.or(Some(batch));
            }
            sizes.into_iter().collect()
        };
        let Some(shapes) = card.inputs.iter().map(sizes).collect::<Option<Vec<_>>>() else { return Ok(()) };
        let zeros: Vec<Vec<f32>> = shapes.iter().map(|shape| vec![0.0; shape.iter().product()]).collect();
        let inputs: Vec<Tensor<'_>> = shapes.iter().zip(&zeros).map(|(shape, data)| Tensor { shape, data }).collect();
        self.run(&inputs).map(drop)
    }

    /// Runs once; `inputs` in the order of the card.
    ///
    /// # Errors
    /// [`VisionError::Network`], e.g. for a shape that the network does not take.
    pub fn run(&mut self, inputs: &[Tensor<'_>]) -> Result<Outputs<'_>, VisionError> {
        let id = self.id.as_str();
        let fail = |error| network_error("run", id, &error);
        let mut named = Vec::with_capacity(inputs.len());
        for ((name, element), input) in self.inputs.iter().zip(&self.elements).zip(inputs) {
            let value = value_of(*element, input).map_err(fail)?;
            named.push((Cow::Borrowed(name.as_str()), value));
        }
        let values = self.session.run(named).map_err(fail)?;
        Ok(Outputs { id, names: &self.outputs, values })
    }
}

impl Outputs<'_> {
    /// The elements of output `index` of the card, outermost dimension first.
    ///
    /// # Errors
    /// [`VisionError::Network`] if there is no such output.
    pub fn get(&self, index: usize) -> Result<&[f32], VisionError> {
        let (_, elements) =
            self.value(index)?.try_extract_tensor::<f32>().map_err(|error| network_error("run", self.id, &error))?;
        Ok(elements)
    }

    /// The elements of output `index` of the card as floats, whatever their type: `expected` of them, every one finite.
    ///
    /// # Errors
    /// [`VisionError::Network`] if there is no such output, or it is of another size, or holds what is no number.
    pub fn finite(&self, index: usize, expected: usize) -> Result<Cow<'_, [f32]>, VisionError> {
        let value = self.value(index)?;
        let fail = |error| network_error("run", self.id, &error);
        let elements: Cow<'_, [f32]> = match value.dtype().tensor_type() {
            Some(TensorElementType::Float16) => {
                let (_, elements) = value.try_extract_tensor::<half::f16>().map_err(fail)?;
                elements.iter().map(|element| element.to_f32()).collect::<Vec<_>>().into()
            }
            Some(TensorElementType::Float64) => {
                let (_, elements) = value.try_extract_tensor::<f64>().map_err(fail)?;
                elements.iter().map(|&element| element as f32).collect::<Vec<_>>().into()
            }
            Some(TensorElementType::Int64) => {
                let (_, elements) = value.try_extract_tensor::<i64>().map_err(fail)?;
                elements.iter().map(|&element| element as f32).collect::<Vec<_>>().into()
            }
            _ => value.try_extract_tensor::<f32>().map_err(fail)?.1.into(),
        };
        let wrong = |what: String| VisionError::Network {
            action: "run",
            id: self.id.to_owned(),
            reason: format!("output {} {what}", self.names[index]),
        };
        if elements.len() != expected {
            return Err(wrong(format!("has {} elements (expected {expected})", elements.len())));
        }
        match elements.iter().position(|element| !element.is_finite()) {
            Some(place) => Err(wrong(format!("is {} at element {place} (expected a finite number)", elements[place]))),
            None => Ok(elements),
        }
    }

    fn value(&self, index: usize) -> Result<&DynValue, VisionError> {
        let value = self.names.get(index).and_then(|name| self.values.get(name));
        value.ok_or_else(|| VisionError::Network {
            action: "run",
            id: self.id.to_owned(),
            reason: format!("gave no output {index}"),
        })
    }
}

fn network_error(action: &'static str, id: &str, error: &ort::Error) -> VisionError {
    VisionError::Network { action, id: id.to_owned(), reason: error.to_string() }
}

/// An input of the type that the file wants.
fn value_of<'a>(element: Element, input: &Tensor<'a>) -> ort::Result<SessionInputValue<'a>> {
    let shape: Vec<i64> = input.shape.iter().map(|&size| size as i64).collect();
    Ok(match element {
        Element::F32 => TensorRef::from_array_view((shape, input.data))?.into(),
        Element::F16 => {
            let data: Vec<half::f16> = input.data.iter().map(|&value| half::f16::from_f32(value)).collect();
            Value::from_array((shape, data))?.into()
        }
        Element::F64 => {
            Value::from_array((shape, input.data.iter().map(|&value| f64::from(value)).collect::<Vec<_>>()))?.into()
        }
        Element::I64 => {
            Value::from_array((shape, input.data.iter().map(|&value| value as i64).collect::<Vec<_>>()))?.into()
        }
    })
}

/// The names in the file of the tensors that the card declares, in the card's order.
fn find_tensors(
    card: &Card,
    kind: &str,
    declared: &[TensorSpec],
    found: &[Outlet],
) -> Result<Vec<String>, VisionError> {
    let refuse = |tensor: &str, expected: String, found: String| VisionError::Tensor {
        id: card.id.clone(),
        tensor: tensor.to_owned(),
        expected,
        found,
    };
    let mut names = Vec::with_capacity(declared.len());
    for (place, spec) in declared.iter().enumerate() {
        let outlet = match spec.by_place {
            true => found.get(place),
            false => found.iter().find(|outlet| outlet.name() == spec.name),
        };
        let expected = || format!("{kind} {spec}");
        let Some(outlet) = outlet else { return Err(refuse(&spec.name, expected(), "absent".to_owned())) };
        match outlet_spec(outlet) {
            Some(actual) if spec.fits(&actual) => names.push(outlet.name().to_owned()),
            Some(actual) => return Err(refuse(outlet.name(), expected(), format!("{kind} {actual}"))),
            None => return Err(refuse(outlet.name(), expected(), outlet.dtype().to_string())),
        }
    }
    match found.iter().find(|outlet| names.iter().all(|name| name != outlet.name())) {
        Some(extra) => Err(refuse(extra.name(), "absent".to_owned(), format!("{kind} {}", extra.dtype()))),
        None => Ok(names),
    }
}

/// The outlet in the card's terms, or `None` if it is not a tensor of numbers that a card can declare.
fn outlet_spec(outlet: &Outlet) -> Option<TensorSpec> {
    let element = match outlet.dtype().tensor_type()? {
        TensorElementType::Float16 => Element::F16,
        TensorElementType::Float32 => Element::F32,
        TensorElementType::Float64 => Element::F64,
        TensorElementType::Int64 => Element::I64,
        _ => return None,
    };
    let shape = outlet.dtype().tensor_shape()?;
    // ONNX Runtime gives a free dimension as -1.
    let dimension = |&size: &i64| usize::try_from(size).map_or(Dimension::Free(String::new()), Dimension::Fixed);
    let shape = shape.iter().map(dimension).collect();
    Some(TensorSpec { name: outlet.name().to_owned(), by_place: false, element, shape })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{Classify, Kind};
    use crate::vision::catalog::Catalog;
    use crate::vision::execution::Provider;
    use crate::vision::testing::{self, tiny};

    #[test]
    fn a_missing_library_says_what_to_do() {
        testing::init();
        let nowhere = Path::new("nowhere/libonnxruntime.so");
        assert!(init(nowhere).is_ok(), "once loaded, nothing is loaded again");
        let error = open(nowhere).expect_err("no such file");
        assert_eq!(
            error.to_string(),
            "load ONNX Runtime from nowhere/libonnxruntime.so: no such file; run `make setup`, or set \
             FACEMILL_ONNXRUNTIME to a libonnxruntime of version 1.24 or later"
        );
        assert_eq!(error.kind(), Kind::Fatal);
    }

    #[test]
    fn a_card_that_contradicts_its_file_is_refused() {
        testing::init();
        let catalog = Catalog::builtin().unwrap();
        let mesh = catalog.get("face_mesh_468").unwrap();
        type Change = fn(&mut Card);
        let check = |change: Change, expected: &str| {
            let mut model = mesh.clone();
            change(&mut model.card);
            let error = Network::load(&model, &Execution::default()).err().expect(expected).to_string();
            assert!(error.contains(expected), "{error}");
        };
        check(
            |card| card.inputs[0].shape[1] = Dimension::Fixed(256),
            "tensor input_1 is input f32[1, 3, 192, 192], expected input f32[1, 256, 192, 192]",
        );
        check(
            |card| card.outputs[1].name = "face".to_owned(),
            "tensor face is absent, expected output f32[1, 1, 1, 1]",
        );
        check(|card| drop(card.outputs.pop()), "tensor conv2d_31 is output");
    }

    #[test]
    fn rows_go_together_as_far_as_the_card_allows() {
        testing::init();
        let folder = tempfile::tempdir().unwrap();
        let runs = |is_cpu: bool, change: &[(&str, &str)], rows: usize| -> Vec<(Range<usize>, usize)> {
            let toml = change.iter().fold(include_str!("../../models/xseg_1.toml").to_owned(), |toml, (from, to)| {
                assert!(toml.contains(from), "{from}");
                toml.replace(from, to)
            });
            let card = Card::parse("xseg", &toml).unwrap();
            let path = folder.path().join("xseg.onnx");
            std::fs::write(&path, tiny::network(&card, &[tiny::Gives::Everywhere(1.0)], None)).unwrap();
            let environment = ENVIRONMENT.get().unwrap();
            let session = session::open(environment, &Weights::File(path), &Provider::default(), 1, None).unwrap();
            let network = Network::of(&card, session, is_cpu).unwrap();
            network.runs(rows).map(|run| (run.rows, run.size)).collect()
        };
        let four = [("batch = 8\n", "batch = 4\n")];
        assert_eq!(runs(false, &four, 6), [(0..4, 4), (4..6, 4)], "every run has the same shape");
        assert_eq!(runs(false, &four, 0), []);
        assert_eq!(runs(true, &four, 2), [(0..1, 1), (1..2, 1)], "the processor gains nothing");
        let fixed = [("batch = 8\n", ""), ("[\"batch\", 256", "[4, 256")];
        for is_cpu in [true, false] {
            assert_eq!(runs(is_cpu, &fixed, 6), [(0..4, 4), (4..6, 4)]);
            assert_eq!(runs(is_cpu, &[("batch = 8\n", "")], 2), [(0..1, 1), (1..2, 1)]);
        }
        // A file that takes one row at a time, whatever the card would allow.
        let card = Card::parse("xseg", include_str!("../../models/xseg_1.toml")).unwrap();
        let fixed = Card::parse(
            "xseg",
            &include_str!("../../models/xseg_1.toml").replace("batch = 8\n", "").replace("\"batch\"", "1"),
        );
        let path = folder.path().join("xseg.onnx");
        std::fs::write(&path, tiny::network(&fixed.unwrap(), &[tiny::Gives::Everywhere(1.0)], None)).unwrap();
        let network = Network::load(&Model { card, weights: Weights::File(path) }, &Execution::default()).unwrap();
        assert_eq!(network.runs(2).map(|run| run.size).collect::<Vec<_>>(), [1, 1]);
        let filled = Run { rows: 4..6, size: 4 };
        assert_eq!(filled.places().collect::<Vec<_>>(), [4, 5, 5, 5]);
    }

    #[test]
    fn threads_do_not_change_bits() {
        testing::init();
        let catalog = Catalog::builtin().unwrap();
        let mesh = catalog.get("face_mesh_468").unwrap();
        let data: Vec<f32> = (0..192 * 192 * 3).map(|i| (i * 2_654_435_761usize % 1000) as f32 / 1000.0).collect();
        let input = [Tensor { shape: &[1, 3, 192, 192], data: &data }];
        let run = |threads| {
            let mut network = Network::load(mesh, &Execution { threads, ..Execution::default() }).unwrap();
            network.run(&input).unwrap().get(0).unwrap().to_vec()
        };
        assert_eq!(run(1), run(2));
    }

    #[test]
    fn a_wrong_shape_is_an_error() {
        testing::init();
        let catalog = Catalog::builtin().unwrap();
        let mut network = Network::load(catalog.get("iris_landmark").unwrap(), &Execution::default()).unwrap();
        let error = network.run(&[Tensor { shape: &[1, 2], data: &[0.0, 0.0] }]).err().unwrap().to_string();
        assert!(error.starts_with("run model iris_landmark: "), "{error}");
    }
}
