//! Clips that are hard to cut or to join, as text files of recipes: read by the library's tests and by `load-tests matrix`.
//!
//! A recipe is a name at the start of a line, and below it, indented, what `ffmpeg` is told, with some words that stand for more
//! ([`Places::expand`]). A line that begins with `@` says something about the clip:
//!
//! | line | meaning |
//! |---|---|
//! | `@part` | no clip to be tried; others are made of it |
//! | `@cat A B` | not made by ffmpeg: the bytes of these, one after the other |
//! | `@to EXT…` | what it is turned into; mp4 if this is not said |
//! | `@encoder NAME` | the output's, instead of the default; without loss only x264 and x265 are tried |
//! | `@filter F` | applied to source and output before frames are compared |
//! | `@untimed N/D` | its container has no presentation times: so many frames are shown in a second |
//! | `@moved` | a broadcast: its output begins at 0, and all keeps its distance |
//! | `@gops N` | GOPs to decode before a chunk's own |
//! | `@adts` | AAC packets carry ADTS headers, which containers of files have no use for: they go |
//! | `@face` | shows the demo's face (load-tests/src/matrix/face.rs says where) |
//! | `@differs WHAT [none\|mesh] [EXT]: WHY` | a difference that is meant to be there; it is an error if it is not |

use std::path::Path;

/// What some clips hold beside video and sound; lies beside them.
pub const TEXTS: [(&str, &str); 3] = [
    ("film.srt", include_str!("film.srt")),
    ("film.ass", include_str!("film.ass")),
    ("film.chapters", include_str!("film.chapters")),
];
/// Also run by the library's own tests.
const BASE: &str = include_str!("base.txt");
/// Only in the matrix.
const MORE: &str = include_str!("more.txt");

/// A clip and what is special about its way.
#[derive(Clone, Debug, Default)]
pub struct Recipe {
    pub name: &'static str,
    arguments: String,
    /// Others are made of it; it is not tried itself.
    pub is_part: bool,
    /// Made of the bytes of these.
    pub cat: Vec<&'static str>,
    /// Extensions of its outputs.
    pub to: Vec<&'static str>,
    /// Of the output.
    pub encoder: Option<&'static str>,
    /// Applied to both clips before their frames are compared.
    pub filter: Option<&'static str>,
    /// Its container has no presentation times: so many frames are shown in so many seconds.
    pub untimed: Option<(i64, i64)>,
    /// Its output begins at 0, and all keeps its distance.
    pub is_moved: bool,
    /// GOPs to decode before a chunk's own.
    pub gops_before: usize,
    /// AAC packets carry ADTS headers, which go.
    pub has_adts: bool,
    /// Shows the demo's face.
    pub has_face: bool,
    /// What is meant to differ.
    pub differs: Vec<Difference>,
}

/// What is meant to differ between a clip and its output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    pub what: &'static str,
    /// Only with this swapper.
    pub swapper: Option<&'static str>,
    /// Only in this container.
    pub extension: Option<&'static str>,
    pub why: &'static str,
}

/// What words of recipes stand for.
pub struct Places<'a> {
    /// Where clips are made.
    pub clips: &'a Path,
    /// The demo's clip.
    pub demo: &'a Path,
    /// Length of a clip of moving test pictures, seconds.
    pub seconds: u32,
}

impl Places<'_> {
    fn expand(&self, text: &str) -> String {
        let mut expanded = text.to_owned();
        for (word, meaning) in [
            ("{V}", "-f lavfi -i testsrc2=s=160x96:r=25:d={d}"),
            ("{A}", "-f lavfi -i sine=f=440:r=48000:d={d}"),
            ("{X264}", "-c:v libx264 -preset veryfast -pix_fmt yuv420p"),
            ("{AAC}", "-c:a aac -shortest"),
            // Six seconds in which the face is seen from the front and stays in the right half.
            ("{FACE}", "-ss 10 -t 6 -i {demo} -map 0:v:0 -map 0:a:0"),
            ("{d}", &self.seconds.to_string()),
            ("{dir}", &self.clips.to_string_lossy()),
            ("{demo}", &self.demo.to_string_lossy()),
        ] {
            expanded = expanded.replace(word, meaning);
        }
        expanded
    }
}

impl Recipe {
    /// What ffmpeg is told, without the name of what it makes.
    pub fn arguments(&self, places: &Places<'_>) -> Vec<String> {
        places.expand(&self.arguments).split_whitespace().map(str::to_owned).collect()
    }

    fn take(&mut self, line: &'static str) {
        let Some(line) = line.strip_prefix('@') else {
            self.arguments += line;
            self.arguments.push(' ');
            return;
        };
        let (word, rest) = line.split_at(line.find([' ', ':']).unwrap_or(line.len()));
        let rest = rest.trim_start_matches(':').trim();
        let words = || rest.split_whitespace();
        match word {
            "part" => self.is_part = true,
            "cat" => self.cat = words().collect(),
            "to" => self.to = words().collect(),
            "encoder" => self.encoder = Some(rest),
            "filter" => self.filter = Some(rest),
            "untimed" => {
                let (frames, seconds) = rest.split_once('/').expect("frames and seconds");
                self.untimed = frames.parse().ok().zip(seconds.parse().ok());
            }
            "moved" => self.is_moved = true,
            "gops" => self.gops_before = rest.parse().expect("a number of GOPs"),
            "adts" => self.has_adts = true,
            "face" => self.has_face = true,
            "differs" => self.differs.push(Difference::parse(rest)),
            _ => panic!("@{word} of {} is not known", self.name),
        }
    }
}

impl Difference {
    fn parse(text: &'static str) -> Self {
        let (head, why) = text.split_once(": ").expect("a difference has its reason after a colon");
        let mut words = head.split_whitespace();
        let what = words.next().expect("a difference says what differs");
        let (mut swapper, mut extension) = (None, None);
        for word in words {
            match word {
                "none" | "mesh" => swapper = Some(word),
                other => extension = Some(other),
            }
        }
        Self { what, swapper, extension, why: why.trim() }
    }
}

/// The recipes of the library's tests, in an order in which they can be made.
pub fn base() -> Vec<Recipe> {
    parse(BASE)
}

/// All, in an order in which they can be made.
pub fn all() -> Vec<Recipe> {
    [base(), parse(MORE)].concat()
}

fn parse(text: &'static str) -> Vec<Recipe> {
    let mut recipes: Vec<Recipe> = Vec::new();
    for line in text.lines().filter(|line| !line.trim().is_empty() && !line.starts_with('#')) {
        match line.strip_prefix("    ") {
            None => recipes.push(Recipe { name: line, to: vec!["mp4"], ..Recipe::default() }),
            Some(line) => recipes.last_mut().expect("a name comes first").take(line.trim()),
        }
    }
    recipes
}
