//! What an output says of how it was made follows from what its job does to pixels.

use super::card::Role;
use super::catalog::Catalog;
use crate::contract::{DigitalSourceType, NetworkId, Swap, Swapper};

/// What is said of a job's output. None if nothing is done to its pixels but coding them.
///
/// Of several networks the one that changes most says it. Of `mesh`, which puts a photo's face into the frame by geometry and light: a composite with
/// something synthetic in it. It has learnt nothing that it could draw, but what it draws was never before a camera, and whoever looks for synthetic
/// media is to find it. A network without a card here (a file
/// that another node's models folder holds) is taken for what its role usually is.
pub fn digital_source_type(swap: &Swap, catalog: &Catalog) -> Option<DigitalSourceType> {
    let of_network = |role: Role, id: &NetworkId| match catalog.of(role, id.as_str()) {
        Ok(model) => model.card.digital_source_type(),
        Err(_) => {
            let card = catalog.card(id.as_str()).filter(|card| card.role == role);
            card.map_or_else(|| role.digital_source_type(), |card| card.digital_source_type())
        }
    };
    let swapper = match &swap.swapper {
        Swapper::Mesh => Some(DigitalSourceType::CompositeSynthetic),
        Swapper::Network(id) => of_network(Role::Swapper, id),
        Swapper::None => None,
    };
    let restorer = swap.restorer.as_ref().and_then(|restorer| of_network(Role::Restorer, &restorer.model));
    let upscaler = swap.upscaler.as_ref().and_then(|upscaler| of_network(Role::Upscaler, &upscaler.model));
    swapper.max(restorer).max(upscaler)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_network_that_changes_most_says_how_a_file_was_made() {
        use DigitalSourceType::{AlgorithmicallyEnhanced, CompositeSynthetic, CompositeWithTrainedAlgorithmicMedia};
        let folder = tempfile::tempdir().unwrap();
        let own = include_str!("../../models/real_esrgan_x2.toml").replace("real_esrgan_x2", "own");
        let own = format!("digital_source_type = \"compositeWithTrainedAlgorithmicMedia\"\n{own}");
        std::fs::write(folder.path().join("own.toml"), own).unwrap();
        let catalog = Catalog::open(folder.path()).unwrap();
        let check = |swap: serde_json::Value, expected: Option<DigitalSourceType>| {
            let found = digital_source_type(&serde_json::from_value(swap.clone()).unwrap(), &catalog);
            assert_eq!(found, expected, "{swap}");
        };
        let network = Some(CompositeWithTrainedAlgorithmicMedia);
        check(serde_json::json!({ "swapper": "none" }), None);
        check(serde_json::json!({}), Some(CompositeSynthetic));
        check(serde_json::json!({ "swapper": "inswapper_128" }), network);
        check(serde_json::json!({ "swapper": "a_stranger" }), network);
        check(serde_json::json!({ "restorer": { "model": "gfpgan_1.4" } }), network);
        let upscaler = |id: &str| serde_json::json!({ "model": id });
        check(
            serde_json::json!({ "swapper": "none", "upscaler": upscaler("real_esrgan_x2") }),
            Some(AlgorithmicallyEnhanced),
        );
        check(serde_json::json!({ "upscaler": upscaler("real_esrgan_x2") }), Some(CompositeSynthetic));
        check(serde_json::json!({ "swapper": "none", "upscaler": upscaler("own") }), network);
    }
}
