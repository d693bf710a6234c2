//! The networks that are part of the program: small, freely licensed (`models/builtin/NOTICE`), no download.

use super::card::{Card, Role};
use super::error::VisionError;
use super::model::{Execution, Network};

/// A network with its card.
#[derive(Clone, Debug)]
pub struct Model {
    /// What is known about it.
    pub card: Card,
    /// The ONNX file.
    pub bytes: &'static [u8],
}

/// The networks that can be chosen from.
#[derive(Clone, Debug)]
pub struct Catalog {
    models: Vec<Model>,
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

const BUILTIN: [(&str, &str, &[u8]); 4] = [
    builtin!("yunet_2023mar.toml", "yunet_2023mar_dyn.onnx"),
    builtin!("face_mesh_468.toml", "face_mesh_468.onnx"),
    builtin!("iris_landmark.toml", "iris_landmark.onnx"),
    builtin!("sface_2021dec.toml", "sface_2021dec_w8.onnx"),
];

impl Catalog {
    /// What is built in.
    ///
    /// # Errors
    /// [`VisionError::Card`] if a card in this build is not in order (a test guards it).
    pub fn builtin() -> Result<Self, VisionError> {
        let read = |(name, toml, bytes)| Ok(Model { card: Card::parse(name, toml)?, bytes });
        Ok(Self { models: BUILTIN.into_iter().map(read).collect::<Result<_, _>>()? })
    }

    /// All models, the built-in ones in the order in which a frame meets them.
    pub fn list(&self) -> &[Model] {
        &self.models
    }

    /// The model called `id`.
    ///
    /// # Errors
    /// [`VisionError::UnknownModel`].
    pub fn get(&self, id: &str) -> Result<&Model, VisionError> {
        self.models.iter().find(|model| model.card.id == id).ok_or_else(|| VisionError::UnknownModel {
            id: id.to_owned(),
            known: self.models.iter().map(|model| model.card.id.clone()).collect(),
        })
    }

    /// The first model of `role`.
    ///
    /// # Errors
    /// [`VisionError::UnknownModel`].
    pub fn of_role(&self, role: Role) -> Result<&Model, VisionError> {
        self.models.iter().find(|model| model.card.role == role).ok_or_else(|| VisionError::UnknownModel {
            id: format!("of role {role:?}"),
            known: self.models.iter().map(|model| model.card.id.clone()).collect(),
        })
    }

    /// Checks every model: sha256 of its bytes, that it loads, and that its tensors are those of its card.
    pub fn verify(&self) -> Vec<(String, Result<(), VisionError>)> {
        let check = |model: &Model| {
            model.card.verify_digest(model.bytes)?;
            Network::load(model, &Execution::default()).map(drop)
        };
        self.models.iter().map(|model| (model.card.id.clone(), check(model))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vision::testing;

    #[test]
    fn everything_built_in_is_as_its_card_says() {
        testing::init();
        let catalog = Catalog::builtin().unwrap();
        for (id, result) in catalog.verify() {
            assert!(result.is_ok(), "{id}: {}", result.unwrap_err());
        }
        let ids: Vec<&str> = catalog.list().iter().map(|model| model.card.id.as_str()).collect();
        assert_eq!(ids, ["yunet_2023mar", "face_mesh_468", "iris_landmark", "sface_2021dec"]);
        assert!(catalog.list().iter().all(|model| model.card.commercial_use));
        let error = catalog.get("yunet").unwrap_err().to_string();
        assert!(error.starts_with("model yunet is unknown (expected one of: yunet_2023mar, "), "{error}");
    }

    #[test]
    fn a_changed_file_is_found_out() {
        testing::init();
        let mut catalog = Catalog::builtin().unwrap();
        catalog.models[0].bytes = catalog.models[1].bytes;
        let results = catalog.verify();
        assert!(matches!(results[0].1, Err(VisionError::Digest { .. })));
        assert!(results[1].1.is_ok());
    }
}
