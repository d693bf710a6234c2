//! The recipes of tests/clips that these tests use, with clips of three seconds.

use std::path::Path;

#[allow(dead_code, reason = "load-tests uses the rest")]
#[path = "../../../tests/clips/recipes.rs"]
mod recipes;

use recipes::Places;

/// A clip and what is special about its way.
pub struct Recipe {
    pub name: &'static str,
    /// ffmpeg's, separated by spaces; `{dir}` is the clips' folder.
    pub arguments: String,
    /// GOPs to decode before the chunk's own.
    pub gops_before: usize,
    /// Applied to both clips before their frames are compared.
    pub filter: &'static str,
    /// Its container has no presentation times: a frame is shown every 1/25 s.
    pub is_untimed: bool,
    /// FFmpeg's own bitstream filter rewrites audio packets (ADTS headers go), so their bytes differ.
    pub audio_rewritten: bool,
}

/// All, in an order in which they can be made.
pub fn recipes() -> Vec<Recipe> {
    let places = Places { clips: Path::new("{dir}"), demo: Path::new(""), seconds: 3 };
    let recipe = |recipe: recipes::Recipe| Recipe {
        name: recipe.name,
        arguments: recipe.arguments(&places).join(" "),
        gops_before: recipe.gops_before,
        filter: recipe.filter.unwrap_or("null"),
        is_untimed: recipe.untimed.is_some(),
        audio_rewritten: recipe.has_adts,
    };
    recipes::base().into_iter().map(recipe).collect()
}

/// The recipe of this name.
pub fn recipe(name: &str) -> Recipe {
    recipes().into_iter().find(|recipe| recipe.name == name).expect("there is such a recipe")
}
