//! What providers make of a network (TensorRT's engines, OpenVINO's blobs), kept on the local disk for the next lane.
//!
//! Providers know their files by the network's name or graph, not by its weights, so each network has a folder of its own, by its digest.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use tracing::{debug, warn};

use super::Network;
use crate::vision::error::VisionError;
use crate::vision::execution::Provider;

/// The folder of one network on one provider; none if it cannot be made.
pub(super) struct Engines {
    folder: Option<PathBuf>,
    /// Held while the network is loaded: lanes that start together build an engine once, and none reads half of one.
    lock: Option<File>,
}

impl Engines {
    /// In `all`, the folder for all of them. Waits for others that load the same network.
    pub(super) fn open(all: &Path, provider: &Provider, digest: &str) -> Self {
        let folder = all.join(provider.kind.name()).join(digest);
        let opened = fs::create_dir_all(&folder).and_then(|()| {
            let lock = File::create(folder.join(".lock"))?;
            lock.lock()?;
            Ok(lock)
        });
        match opened {
            Ok(lock) => Self { folder: Some(folder), lock: Some(lock) },
            Err(error) => {
                warn!(%error, folder = %folder.display(), "what is made of networks cannot be kept");
                Self { folder: None, lock: None }
            }
        }
    }

    /// Loads the network; once more without what was kept, if that fails: a process may have died while it wrote.
    pub(super) fn load(
        self,
        load: impl Fn(Option<&Path>) -> Result<Network, VisionError>,
    ) -> Result<Network, VisionError> {
        let Some(folder) = &self.folder else { return load(None) };
        let first = load(Some(folder));
        if first.is_ok() || !self.forget(folder) {
            return first;
        }
        debug!(folder = %folder.display(), "loaded once more without what was kept of it");
        load(Some(folder))
    }

    /// Deletes what is kept; false if there was nothing.
    fn forget(&self, folder: &Path) -> bool {
        debug_assert!(self.lock.is_some(), "nobody else loads it meanwhile");
        let kept = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
        let kept: Vec<PathBuf> = kept.filter(|path| !path.ends_with(".lock")).collect();
        kept.iter().for_each(|path| drop(fs::remove_file(path)));
        !kept.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vision::catalog::Catalog;
    use crate::vision::execution::Execution;
    use crate::vision::testing;

    #[test]
    fn what_cannot_be_used_any_more_is_made_anew() {
        testing::init();
        let catalog = Catalog::builtin().unwrap();
        let iris = catalog.get("iris_landmark").unwrap();
        let broken = || VisionError::Network {
            action: "load",
            id: "iris_landmark".to_owned(),
            reason: "half an engine".to_owned(),
        };
        let folder = tempfile::tempdir().unwrap();
        let provider = Provider::default();
        // A provider that stumbles over what a dead process has left.
        let load = |engines: Option<&Path>| {
            let file = engines.expect("a folder").join("engine");
            match fs::read(&file) {
                Ok(bytes) if bytes == b"half" => Err(broken()),
                _ => {
                    fs::write(&file, "whole").unwrap();
                    Network::load(iris, &Execution::default())
                }
            }
        };
        let own = folder.path().join("cpu").join("abc");
        for left in [None, Some("half"), Some("whole")] {
            fs::create_dir_all(&own).unwrap();
            if let Some(left) = left {
                fs::write(own.join("engine"), left).unwrap();
            }
            assert!(Engines::open(folder.path(), &provider, "abc").load(load).is_ok(), "{left:?}");
            assert_eq!(fs::read(own.join("engine")).unwrap(), b"whole");
        }
        let never = |_: Option<&Path>| Err(broken());
        assert!(Engines::open(folder.path(), &provider, "abc").load(never).is_err());
        // A folder that cannot be made is no reason not to work.
        fs::write(folder.path().join("openvino"), []).unwrap();
        let openvino: Provider = "openvino".parse().unwrap();
        let without = |engines: Option<&Path>| {
            assert_eq!(engines, None);
            Network::load(iris, &Execution::default())
        };
        assert!(Engines::open(folder.path(), &openvino, "abc").load(without).is_ok());
    }
}
