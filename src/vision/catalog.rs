//! The networks that can be chosen from: those that are part of the program (small, freely licensed, `models/builtin/NOTICE`), and those
//! whose files an operator has put into the models folder.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{LazyLock, Mutex, PoisonError};
use std::time::SystemTime;

use sha2::{Digest as _, Sha256};

use super::card::{Card, Role, TensorSpec, is_id};
use super::error::VisionError;
use super::model::{Execution, Network};
use super::onnx::Onnx;

/// A network with its card.
#[derive(Clone, Debug)]
pub struct Model {
    /// What is known about it.
    pub card: Card,
    /// Where its ONNX file is.
    pub weights: Weights,
}

/// A network's ONNX file.
#[derive(Clone, Debug)]
pub enum Weights {
    /// Part of the program.
    Builtin(&'static [u8]),
    /// In the models folder.
    File(PathBuf),
}

/// The networks that can be chosen from.
#[derive(Clone, Debug)]
pub struct Catalog {
    models: Vec<Model>,
    /// Cards whose file is not there.
    absent: Vec<Card>,
    folder: Option<PathBuf>,
}

macro_rules! builtin {
    ($card:literal, $file:literal) => {
        (
            $card,
            include_str!(concat!("../../models/", $card)),
            include_bytes!(concat!("../../models/builtin/", $file)).as_slice(),
        )
    };
}

macro_rules! known {
    ($($card:literal),* $(,)?) => { [$(($card, include_str!(concat!("../../models/", $card)))),*] };
}

/// In the order in which a frame meets them.
const BUILTIN: [(&str, &str, &[u8]); 5] = [
    builtin!("yunet_2023mar.toml", "yunet_2023mar_dyn.onnx"),
    builtin!("face_mesh_468.toml", "face_mesh_468.onnx"),
    builtin!("iris_landmark.toml", "iris_landmark.onnx"),
    builtin!("sface_2021dec.toml", "sface_2021dec_w8.onnx"),
    builtin!("selfie_segmentation.toml", "selfie_segmentation.onnx"),
];

/// The field's well-known networks, whose files their owners supply.
const KNOWN: &[(&str, &str)] = &known![
    "scrfd_2.5g.toml",
    "retinaface_10g.toml",
    "yoloface_8n.toml",
    "yolov5n_face.toml",
    "mtcnn.toml",
    "mtcnn_rnet.toml",
    "mtcnn_onet.toml",
    "2dfan4.toml",
    "pfld_98.toml",
    "arcface_w600k_r50.toml",
    "arcface_simswap.toml",
    "cosface_glint360k_r100.toml",
    "arcface_converter_simswap.toml",
    "arcface_converter_ghost.toml",
    "arcface_converter_hififace.toml",
    "inswapper_128.toml",
    "inswapper_128_fp16.toml",
    "simswap_256.toml",
    "simswap_unofficial_512.toml",
    "blendswap_256.toml",
    "uniface_256.toml",
    "ghost_1_256.toml",
    "ghost_2_256.toml",
    "ghost_3_256.toml",
    "hififace_unofficial_256.toml",
    "hyperswap_1a_256.toml",
    "hyperswap_1b_256.toml",
    "hyperswap_1c_256.toml",
    "xseg_1.toml",
    "xseg_2.toml",
    "xseg_3.toml",
    "bisenet_resnet_18.toml",
    "bisenet_resnet_34.toml",
    "gfpgan_1.2.toml",
    "gfpgan_1.3.toml",
    "gfpgan_1.4.toml",
    "codeformer.toml",
    "gpen_bfr_256.toml",
    "gpen_bfr_512.toml",
    "gpen_bfr_1024.toml",
    "gpen_bfr_2048.toml",
    "restoreformer_plus_plus.toml",
    "real_esrgan_x2.toml",
    "real_esrgan_x2_fp16.toml",
    "real_esrgan_x4.toml",
    "real_esrgan_x4_fp16.toml",
    "real_esrgan_x8.toml",
    "real_esrgan_x8_fp16.toml",
    "open_nsfw.toml",
    "nsfw_2.toml",
];

impl Catalog {
    /// What is part of the program.
    ///
    /// # Errors
    /// [`VisionError::Card`] if a card in this build is not in order (a test guards it).
    pub fn builtin() -> Result<Self, VisionError> {
        let read = |(name, toml, bytes)| Ok(Model { card: Card::parse(name, toml)?, weights: Weights::Builtin(bytes) });
        let models = BUILTIN.into_iter().map(read).collect::<Result<_, _>>()?;
        let absent = KNOWN.iter().map(|(name, toml)| Card::parse(name, toml)).collect::<Result<_, _>>()?;
        Ok(Self { models, absent, folder: None })
    }

    /// That, and what lies in `folder`: cards (`*.toml`) and the files that these or the cards of this build name. A folder that is not
    /// there is an empty one. A card in the folder comes before one of this build with the same id.
    ///
    /// # Errors
    /// [`VisionError::Card`] for a card that is not in order; [`VisionError::Folder`] if the folder cannot be read.
    pub fn open(folder: &Path) -> Result<Self, VisionError> {
        let mut catalog = Self::builtin()?;
        let failed = |error: io::Error| VisionError::Folder { path: folder.to_owned(), error };
        let mut cards = Vec::new();
        match fs::read_dir(folder) {
            Ok(entries) => {
                for entry in entries {
                    let path = entry.map_err(failed)?.path();
                    if path.extension().is_some_and(|extension| extension == "toml") {
                        cards.push(path);
                    }
                }
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(failed(error)),
        }
        cards.sort();
        for path in cards {
            let text = fs::read_to_string(&path).map_err(failed)?;
            let mut card = Card::parse(&path.display().to_string(), &text)?;
            card.own = Some(hex::encode(Sha256::digest(&text)));
            if BUILTIN.iter().any(|(name, _, _)| name.strip_suffix(".toml") == Some(&card.id)) {
                return Err(card.refuse("is that of a network that is built in (expected another id)".to_owned()));
            }
            catalog.absent.retain(|known| known.id != card.id);
            catalog.absent.push(card);
        }
        for card in std::mem::take(&mut catalog.absent) {
            let file = folder.join(&card.file);
            match file.is_file() {
                true => catalog.models.push(Model { card, weights: Weights::File(file) }),
                false => catalog.absent.push(card),
            }
        }
        catalog.folder = Some(folder.to_owned());
        Ok(catalog)
    }

    /// All models that are there, the built-in ones first.
    pub fn list(&self) -> &[Model] {
        &self.models
    }

    /// The cards of networks that are not.
    pub fn absent(&self) -> &[Card] {
        &self.absent
    }

    /// The card called `id`, whether or not its network is there.
    pub fn card(&self, id: &str) -> Option<&Card> {
        self.models.iter().map(|model| &model.card).chain(&self.absent).find(|card| card.id == id)
    }

    /// The model called `id`.
    ///
    /// # Errors
    /// [`VisionError::UnknownModel`]; [`VisionError::AbsentModel`] if its file is not in the models folder.
    pub fn get(&self, id: &str) -> Result<&Model, VisionError> {
        if let Some(model) = self.models.iter().find(|model| model.card.id == id) {
            return Ok(model);
        }
        if let Some(card) = self.absent.iter().find(|card| card.id == id) {
            return Err(VisionError::AbsentModel {
                id: id.to_owned(),
                file: card.file.clone(),
                folder: self.folder.clone(),
                origin: card.origin.clone(),
            });
        }
        Err(self.unknown(id, None))
    }

    /// The model of `role` called `id`: a card's, or a file of that name in the models folder (with or without `.onnx`) that no card
    /// names, if exactly one card of the role fits its tensors.
    ///
    /// # Errors
    /// As [`Catalog::get`]; [`VisionError::Fit`] if no card fits, or several do; [`VisionError::Role`] for a network of another role.
    pub fn of(&self, role: Role, id: &str) -> Result<Model, VisionError> {
        let id = id.strip_suffix(".onnx").unwrap_or(id);
        let dropped = self.folder.as_ref().map(|folder| folder.join(format!("{id}.onnx")));
        let is_known = self.card(id).is_some();
        if let Some(file) = dropped.filter(|file| is_id(id) && !is_known && file.is_file()) {
            return self.fitting(role, id, &file);
        }
        let model = match self.get(id) {
            Err(VisionError::UnknownModel { .. }) => return Err(self.unknown(id, Some(role))),
            model => model?,
        };
        match model.card.role == role {
            true => Ok(model.clone()),
            false => Err(VisionError::Role { id: id.to_owned(), found: model.card.role, expected: role }),
        }
    }

    /// The model called `id`, of whatever role; see [`Catalog::of`].
    ///
    /// # Errors
    /// As [`Catalog::of`].
    pub fn any(&self, id: &str) -> Result<Model, VisionError> {
        match self.get(id) {
            Err(unknown @ VisionError::UnknownModel { .. }) => {
                let dropped = Role::ALL.into_iter().find_map(|role| self.of(role, id).ok());
                dropped.ok_or(unknown)
            }
            model => model.cloned(),
        }
    }

    /// The model of a file that no card names.
    fn fitting(&self, role: Role, id: &str, file: &Path) -> Result<Model, VisionError> {
        let fitting = self.fitting_cards(file)?;
        let of_role: Vec<&&Card> = fitting.iter().filter(|card| card.role == role).collect();
        match of_role[..] {
            [card] => {
                let card = Card { id: id.to_owned(), file: file_name(file), sha256: None, ..(**card).clone() };
                Ok(Model { card, weights: Weights::File(file.to_owned()) })
            }
            _ => Err(VisionError::Fit {
                file: file_name(file),
                role,
                cards: of_role.iter().map(|card| card.id.clone()).collect(),
            }),
        }
    }

    /// The cards that describe the tensors of `file`, there or not.
    ///
    /// # Errors
    /// [`VisionError::Unreadable`] if it is no ONNX file.
    pub fn fitting_cards(&self, file: &Path) -> Result<Vec<&Card>, VisionError> {
        let unreadable = |error| VisionError::Unreadable { path: file.to_owned(), error };
        let summary = Onnx::open(file).and_then(|mut onnx| onnx.summary()).map_err(unreadable)?;
        let fits = |declared: &[TensorSpec], found: &[Option<TensorSpec>]| {
            declared.len() == found.len()
                && declared.iter().enumerate().all(|(place, spec)| {
                    let named = found.iter().flatten().find(|tensor| tensor.name == spec.name);
                    let tensor = if spec.by_place { found[place].as_ref() } else { named };
                    tensor.is_some_and(|tensor| spec.fits(tensor))
                })
        };
        let cards = self.models.iter().map(|model| &model.card).chain(&self.absent);
        Ok(cards.filter(|card| fits(&card.inputs, &summary.inputs) && fits(&card.outputs, &summary.outputs)).collect())
    }

    /// The first model of `role`.
    ///
    /// # Errors
    /// [`VisionError::UnknownModel`].
    pub fn of_role(&self, role: Role) -> Result<&Model, VisionError> {
        self.models
            .iter()
            .find(|model| model.card.role == role)
            .ok_or_else(|| self.unknown(&format!("of role {role}"), Some(role)))
    }

    fn unknown(&self, id: &str, role: Option<Role>) -> VisionError {
        let cards = self.models.iter().map(|model| &model.card).chain(&self.absent);
        let known = cards.filter(|card| role.is_none_or(|role| card.role == role)).map(|card| card.id.clone());
        VisionError::UnknownModel { id: id.to_owned(), known: known.collect() }
    }

    /// Checks every model that is there, or the one called `only`: sha256 of its file, that it loads, and that its tensors are those of
    /// its card.
    pub fn verify(&self, only: Option<&str>) -> Vec<(String, Result<(), VisionError>)> {
        let check = |model: &Model| {
            model.verify_digest()?;
            Network::load(model, &Execution::default()).map(drop)
        };
        let wanted = self.models.iter().filter(|model| only.is_none_or(|id| model.card.id == id));
        wanted.map(|model| (model.card.id.clone(), check(model))).collect()
    }
}

impl Model {
    /// sha256 of its ONNX file, hexadecimal. It is computed once per process; of a file, as long as its size and time stay.
    ///
    /// # Errors
    /// [`VisionError::Unreadable`].
    pub fn digest(&self) -> Result<String, VisionError> {
        type Known = HashMap<(PathBuf, u64, Option<SystemTime>), String>;
        static KNOWN: LazyLock<Mutex<Known>> = LazyLock::new(Mutex::default);
        let path = match &self.weights {
            Weights::Builtin(bytes) => {
                static BUILTIN: LazyLock<Mutex<HashMap<usize, String>>> = LazyLock::new(Mutex::default);
                let mut known = BUILTIN.lock().unwrap_or_else(PoisonError::into_inner);
                return Ok(known
                    .entry(bytes.as_ptr() as usize)
                    .or_insert_with(|| hex::encode(Sha256::digest(bytes)))
                    .clone());
            }
            Weights::File(path) => path,
        };
        let unreadable = |error| VisionError::Unreadable { path: path.clone(), error };
        let status = fs::metadata(path).map_err(unreadable)?;
        let key = (path.clone(), status.len(), status.modified().ok());
        if let Some(known) = KNOWN.lock().unwrap_or_else(PoisonError::into_inner).get(&key) {
            return Ok(known.clone());
        }
        let mut hasher = Sha256::new();
        let mut file = fs::File::open(path).map_err(unreadable)?;
        let mut block = vec![0; 1 << 20];
        loop {
            match io::Read::read(&mut file, &mut block).map_err(unreadable)? {
                0 => break,
                read => hasher.update(&block[..read]),
            }
        }
        let digest = hex::encode(hasher.finalize());
        KNOWN.lock().unwrap_or_else(PoisonError::into_inner).insert(key, digest.clone());
        Ok(digest)
    }

    /// What of the network determines what it computes, as a sha256: its file, and the card where that is not of this build (whose cards stand
    /// for themselves in [`crate::contract::PIPELINE`]).
    ///
    /// # Errors
    /// [`VisionError::Unreadable`].
    pub fn identity(&self) -> Result<String, VisionError> {
        let weights = self.digest()?;
        Ok(match &self.card.own {
            Some(card) => hex::encode(Sha256::digest(format!("{weights} {card}"))),
            None => weights,
        })
    }

    /// Bytes of its ONNX file; 0 if it has gone.
    pub fn size(&self) -> u64 {
        match &self.weights {
            Weights::Builtin(bytes) => bytes.len() as u64,
            Weights::File(path) => fs::metadata(path).map_or(0, |status| status.len()),
        }
    }

    /// Checks that the file is the one that the card names, where it names one.
    ///
    /// # Errors
    /// [`VisionError::Digest`]; [`VisionError::Unreadable`].
    pub fn verify_digest(&self) -> Result<(), VisionError> {
        let Some(expected) = &self.card.sha256 else { return Ok(()) };
        let found = self.digest()?;
        match found.eq_ignore_ascii_case(expected) {
            true => Ok(()),
            false => Err(VisionError::Digest {
                id: self.card.id.clone(),
                file: self.card.file.clone(),
                expected: expected.clone(),
                found,
            }),
        }
    }
}

fn file_name(file: &Path) -> String {
    file.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vision::testing;

    #[test]
    fn everything_built_in_is_as_its_card_says() {
        testing::init();
        let catalog = Catalog::builtin().unwrap();
        for (id, result) in catalog.verify(None) {
            assert!(result.is_ok(), "{id}: {}", result.unwrap_err());
        }
        let ids: Vec<&str> = catalog.list().iter().map(|model| model.card.id.as_str()).collect();
        assert_eq!(ids, ["yunet_2023mar", "face_mesh_468", "iris_landmark", "sface_2021dec", "selfie_segmentation"]);
        assert!(catalog.list().iter().all(|model| model.card.commercial_use));
        let error = catalog.get("yunet").unwrap_err().to_string();
        assert!(error.starts_with("model yunet is unknown (expected one of: yunet_2023mar, "), "{error}");
    }

    #[test]
    fn a_changed_file_is_found_out() {
        testing::init();
        let mut catalog = Catalog::builtin().unwrap();
        catalog.models[0].weights = catalog.models[1].weights.clone();
        let results = catalog.verify(None);
        assert!(matches!(results[0].1, Err(VisionError::Digest { .. })));
        assert!(results[1].1.is_ok());
        assert_eq!(catalog.verify(Some("face_mesh_468")).len(), 1);
    }

    #[test]
    fn well_known_networks_have_cards_and_wait_for_their_files() {
        let catalog = Catalog::builtin().unwrap();
        assert_eq!(catalog.absent().len(), KNOWN.len());
        let mut ids: Vec<&str> = catalog.absent().iter().map(|card| card.id.as_str()).collect();
        ids.extend(catalog.list().iter().map(|model| model.card.id.as_str()));
        for (name, _) in KNOWN {
            assert!(ids.contains(&name.trim_end_matches(".toml")), "{name} is called otherwise inside");
        }
        let count = ids.len();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), count, "an id stands for one network");
        for card in catalog.absent() {
            let others = card.contract.as_ref().map(|contract| contract.other_cards()).unwrap_or_default();
            assert!(others.iter().all(|id| catalog.card(id).is_some()), "{}: {others:?}", card.id);
        }
        let error = catalog.get("inswapper_128").unwrap_err().to_string();
        assert!(error.starts_with("model inswapper_128 is not installed: inswapper_128.onnx is not in"), "{error}");
        let error = catalog.of(Role::Detector, "sface_2021dec").unwrap_err().to_string();
        assert_eq!(error, "model sface_2021dec is a recogniser (expected a detector)");
    }

    #[test]
    fn a_folder_adds_files_and_cards() {
        testing::init();
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(Catalog::open(&folder.path().join("nowhere")).unwrap().list().len(), BUILTIN.len());
        let Weights::Builtin(iris) = Catalog::builtin().unwrap().get("iris_landmark").unwrap().weights else {
            panic!()
        };
        let file = folder.path().join("my-eyes.onnx");
        fs::write(&file, iris).unwrap();
        let catalog = Catalog::open(folder.path()).unwrap();
        let model = catalog.of(Role::Eyes, "my-eyes").unwrap();
        assert_eq!((model.card.id.as_str(), model.card.file.as_str()), ("my-eyes", "my-eyes.onnx"));
        Network::load(&model, &Execution::default()).unwrap();
        let error = catalog.of(Role::Swapper, "my-eyes.onnx").unwrap_err().to_string();
        assert!(error.starts_with("my-eyes.onnx has no card, and no card of a swapper has its tensors"), "{error}");

        let own = include_str!("../../models/iris_landmark.toml").replace("iris_landmark", "own");
        fs::write(folder.path().join("own.toml"), &own).unwrap();
        fs::write(folder.path().join("own.onnx"), iris).unwrap();
        let catalog = Catalog::open(folder.path()).unwrap();
        assert_eq!(
            catalog.get("own").unwrap().digest().unwrap(),
            catalog.get("iris_landmark").unwrap().digest().unwrap()
        );
        fs::write(folder.path().join("own.onnx"), &iris[..iris.len() / 2]).unwrap();
        let outcome = Catalog::open(folder.path()).unwrap().verify(Some("own"));
        assert!(matches!(outcome[0].1, Err(VisionError::Digest { .. })), "{outcome:?}");
        fs::write(folder.path().join("own.toml"), own.replace("role = \"eyes\"", "role = \"ears\"")).unwrap();
        assert!(matches!(Catalog::open(folder.path()), Err(VisionError::Card { .. })));
    }
}
