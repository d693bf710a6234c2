//! Makes the clips of the recipes, several at a time.

use std::collections::HashSet;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context, Result, ensure};

use super::lock;
use super::recipes::{Places, Recipe, TEXTS};
use crate::clips::{demo, ffmpeg};

/// Length of a clip of moving test pictures, seconds: two chunks of 64 to 128 frames.
const SECONDS: u32 = 7;

/// Makes `wanted`, and what they are made of, in `folder`; `jobs` at a time.
pub fn make(recipes: &[Recipe], wanted: &[Recipe], folder: &Path, jobs: usize) -> Result<()> {
    for (name, text) in TEXTS {
        std::fs::write(folder.join(name), text)?;
    }
    let demo = demo()?;
    let places = Places { clips: folder, demo: &demo, seconds: SECONDS };
    // Backwards, since clips are made of earlier ones.
    let mut needed: HashSet<&str> = wanted.iter().map(|recipe| recipe.name).collect();
    for recipe in recipes.iter().rev() {
        if needed.contains(recipe.name) {
            needed.extend(recipes.iter().filter(|other| is_made_of(recipe, other, &places)).map(|other| other.name));
        }
    }
    let needed: Vec<&Recipe> = recipes.iter().filter(|recipe| needed.contains(recipe.name)).collect();
    let is_first = |recipe: &&Recipe| !recipes.iter().any(|other| is_made_of(recipe, other, &places));
    let (first, later): (Vec<&Recipe>, Vec<&Recipe>) = needed.into_iter().partition(is_first);
    let next = AtomicUsize::new(0);
    let errors = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..jobs {
            scope.spawn(|| {
                while let Some(recipe) = first.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if let Err(error) = make_one(recipe, &places) {
                        lock(&errors).push(error);
                    }
                }
            });
        }
    });
    if let Some(error) = errors.into_inner().unwrap_or_default().into_iter().next() {
        return Err(error);
    }
    // Copies of packets, for the most part: not worth several at a time.
    later.iter().try_for_each(|recipe| make_one(recipe, &places))
}

/// Whether one is made of the other.
fn is_made_of(recipe: &Recipe, other: &Recipe, places: &Places<'_>) -> bool {
    let path = places.clips.join(other.name);
    recipe.cat.contains(&other.name) || recipe.arguments(places).iter().any(|argument| Path::new(argument) == path)
}

fn make_one(recipe: &Recipe, places: &Places<'_>) -> Result<()> {
    let path = places.clips.join(recipe.name);
    if !recipe.cat.is_empty() {
        let parts: Result<Vec<Vec<u8>>, _> =
            recipe.cat.iter().map(|part| std::fs::read(places.clips.join(part))).collect();
        return Ok(std::fs::write(&path, parts?.concat())?);
    }
    let mut arguments = vec!["-threads".to_owned(), "1".to_owned()];
    arguments.extend(recipe.arguments(places));
    arguments.push(path.to_str().context("UTF-8 path")?.to_owned());
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    ffmpeg(&arguments).with_context(|| format!("make {}", recipe.name))?;
    ensure!(path.metadata()?.len() > 0, "{} is empty", recipe.name);
    Ok(())
}
