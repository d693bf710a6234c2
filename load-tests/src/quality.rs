//! How good is a swap? Identity, pose, expression, stillness, sharpness, and what lies outside the face, as numbers; and a contact sheet, since
//! numbers do not see.
//!
//! Every frame of both clips is looked at afresh (detector, mesh of six passes, recogniser, eye network), the largest face of each; nothing is
//! taken from the swap. Clips are decoded by `ffmpeg` to 8-bit 4:2:0, so that facemill is not measured by itself.
//!
//! - *identity*: cosine of SFace embeddings, to the mean of the photos' and to the same frame's of the original.
//! - *pose*: angle of the rotation that brings the original's mesh nearest to the swapped one's, in three dimensions ([`shape::Fit`]).
//! - *expression*: what then remains between both meshes, mean over all points, % of the inter-ocular distance; apart from that, the difference
//!   of the mouth's opening (% of the inter-ocular distance) and of the eyes' (area over squared width, in %, by the eye network).
//! - *jitter*: mean second difference over time of the mesh without its place, size and rotation, swapped over original.
//! - *sharpness*: root mean square of luma's detail (what a 3×3 blur takes away), swapped over original, inside the hull and around it.
//! - *outside*: share of samples beyond the hull, of all planes, that are exactly the same; says something of lossless outputs only.

mod hull;
mod shape;

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use clap::Args;
use facemill::config::Config;
use facemill::frame::{Frame, Matrix, Pixels};
use facemill::photo;
use facemill::vision::card::Role;
use facemill::vision::recogniser::{self, Recogniser, cosine};
use facemill::vision::swap::EyeNet;
use facemill::vision::{Catalog, Execution, Mesh, TrackNets, detect_and_mesh, model};
use image::RgbImage;

use crate::clips::Frames;
use crate::measure;
use crate::sheet::{self, Crop};
use hull::{Hull, Same};

/// Frames on the sheet: evenly spread ones, and the worst of each of [`WORST`].
const EVEN: usize = 6;
/// What is looked at for the worst frames, larger is worse.
const WORST: [Measure; 4] = [|pair| -pair.to_source, |pair| pair.pose, |pair| pair.expression, |pair| pair.mouth];

/// What is compared with what.
#[derive(Args, Debug)]
pub struct Quality {
    /// Photo of the person; repeat for several [default: the demo's]
    #[arg(long, value_name = "PHOTO")]
    source: Vec<PathBuf>,
    /// The clip before [default: the demo's]
    #[arg(long, value_name = "CLIP")]
    original: Option<PathBuf>,
    /// The clip after [default: made by the program, without loss]
    #[arg(long, value_name = "CLIP")]
    swapped: Option<PathBuf>,
    /// Where the contact sheet goes (.png, .jpg); none without
    #[arg(long, value_name = "FILE")]
    sheet: Option<PathBuf>,
    /// Only every so many-th frame; then there is no jitter
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
    every: u16,
    /// Only so many frames
    #[arg(long, value_name = "N")]
    frame_limit: Option<usize>,
    /// Fail if the mean cosine to the source is below this
    #[arg(long, value_name = "COSINE")]
    at_least: Option<f64>,
    /// The program that makes the swapped clip
    #[arg(long, value_name = "FILE", default_value = "target/release/facemill")]
    facemill: PathBuf,
}

/// Prints the table and writes the sheet.
pub fn run(args: &Quality) -> Result<()> {
    let original = args.original.clone().map_or_else(crate::clips::demo, Ok)?;
    let sources = if args.source.is_empty() { vec![crate::clips::portrait()] } else { args.source.clone() };
    let folder = tempfile::tempdir()?;
    let swapped = match &args.swapped {
        Some(swapped) => swapped.clone(),
        None => {
            let output = folder.path().join("swapped.mkv");
            args.swap(&sources, &original, folder.path(), &output)?;
            output
        }
    };
    let mut judge = Judge::load(&sources)?;
    let compared = compare(&mut judge, [&original, &swapped], usize::from(args.every), args.frame_limit)?;
    ensure!(!compared.pairs.is_empty(), "no frame shows a face both in {} and in the swapped clip", original.display());
    print(&compared);
    if let Some(sheet) = &args.sheet {
        let crop = compared.crop()?;
        sheet::run(&original, &swapped, sheet, &chosen(&compared.pairs), Some(crop))?;
    }
    let identity = mean(&column(&compared.pairs, |pair| pair.to_source));
    ensure!(
        args.at_least.is_none_or(|least| identity >= least),
        "the mean cosine to the source is {identity:.3} (expected at least {})",
        args.at_least.unwrap_or_default()
    );
    Ok(())
}

impl Quality {
    fn swap(&self, sources: &[PathBuf], original: &Path, folder: &Path, output: &Path) -> Result<()> {
        let mut command = Command::new(&self.facemill);
        command.arg("swap").arg("--json").arg("--data-dir").arg(folder.join("data"));
        for source in sources {
            command.arg("-s").arg(source);
        }
        command.arg("-t").arg(original).arg("-o").arg(output);
        command.args(["--output-video-encoder", "libx264", "--output-video-crf", "0"]);
        if let Some(limit) = self.frame_limit {
            command.arg("--frame-limit").arg(limit.to_string());
        }
        measure::run(&mut command).map(drop)
    }
}

/// One frame, before and after.
struct Pair {
    number: usize,
    to_source: f64,
    to_original: f64,
    /// The original's own cosine to the source.
    before: f64,
    pose: f64,
    expression: f64,
    mouth: f64,
    eyes: f64,
    /// Root mean squares of detail, inside and outside, original and swapped.
    detail: [[f64; 2]; 2],
}

/// What a row of the table, or the choice of the worst frame, looks at.
type Measure = fn(&Pair) -> f64;

/// Two clips.
#[derive(Default)]
struct Compared {
    pairs: Vec<Pair>,
    frames: usize,
    /// Frames with a face before and none after.
    lost: usize,
    same: Same,
    /// Mean second differences, original and swapped, one for every three successive frames.
    shakes: Vec<[f64; 2]>,
    /// Around all faces: left, top, right, bottom; and the frame's size.
    bounds: Option<[f32; 4]>,
    size: [usize; 2],
}

impl Compared {
    /// All faces with some room.
    fn crop(&self) -> Result<Crop> {
        let [left, top, right, bottom] = self.bounds.context("a face")?;
        let margin = 0.1 * (right - left);
        let side = |low: f32, high: f32, size: usize| {
            let first = (low - margin).clamp(0.0, size as f32 - 1.0) as u32;
            (first, (((high + margin).max(0.0) as u32).min(size as u32) - first).max(1))
        };
        let ((x, width), (y, height)) = (side(left, right, self.size[0]), side(top, bottom, self.size[1]));
        Ok(Crop { width, height, x, y })
    }
}

struct Judge {
    nets: TrackNets,
    recogniser: Recogniser,
    eyes: EyeNet,
    source: Vec<f32>,
}

/// A face as the networks see it.
struct Seen {
    mesh: Mesh,
    embedding: Vec<f32>,
    openness: [f32; 2],
}

impl Judge {
    fn load(sources: &[PathBuf]) -> Result<Self> {
        let config = Config::load(None, serde_json::json!({}))?;
        model::init(&config.onnxruntime_library())?;
        let (catalog, execution) = (Catalog::builtin()?, Execution::default());
        let mut judge = Self {
            nets: TrackNets::load(&catalog, &execution)?,
            recogniser: Recogniser::load(catalog.of_role(Role::Recogniser)?, &execution)?,
            eyes: EyeNet::load(&catalog, &execution)?,
            source: Vec::new(),
        };
        let mut embeddings = Vec::new();
        for path in sources {
            let photo: RgbImage = photo::decode(&std::fs::read(path)?)?;
            let frame = Frame::from_rgb(photo.width() as usize, photo.height() as usize, &photo, Matrix::Bt601);
            let seen = judge.look(&frame)?.with_context(|| format!("{} shows no face", path.display()))?;
            embeddings.push(recogniser::normalised(&seen.embedding));
        }
        judge.source = recogniser::mean(&embeddings).context("no photo was given")?;
        Ok(judge)
    }

    /// The largest face.
    fn look(&mut self, frame: &Frame) -> Result<Option<Seen>> {
        let picture = frame.view();
        let Some(found) = detect_and_mesh(&mut self.nets, &picture)?.into_iter().next() else { return Ok(None) };
        let mesh = found.face.mesh;
        let embedding = self.recogniser.embedding(&picture, &mesh.five_points())?;
        let openness = self.eyes.openness(&picture, &mesh.0)?;
        Ok(Some(Seen { mesh, embedding, openness }))
    }
}

fn compare(judge: &mut Judge, clips: [&Path; 2], every: usize, limit: Option<usize>) -> Result<Compared> {
    let [mut before, mut after] = [Frames::open(clips[0])?, Frames::open(clips[1])?];
    let mut compared = Compared { size: before.size(), ..Compared::default() };
    ensure!(before.size() == after.size(), "the clips are {:?} and {:?} pixels large", before.size(), after.size());
    let mut last: Vec<[Vec<[f64; 2]>; 2]> = Vec::new();
    for number in 0..limit.unwrap_or(usize::MAX) {
        let Some(original) = before.next()? else { break };
        let swapped = after.next()?.with_context(|| format!("{} has only {number} frames", clips[1].display()))?;
        if number % every != 0 {
            continue;
        }
        compared.frames += 1;
        let Some(seen) = judge.look(&original)? else {
            last.clear();
            continue;
        };
        let Some(new) = judge.look(&swapped)? else {
            compared.lost += 1;
            last.clear();
            continue;
        };
        compared.pairs.push(pair(number, &judge.source, [&seen, &new], [&original, &swapped], &mut compared.same));
        let face = seen.mesh.bounds();
        let [left, top, right, bottom] = compared.bounds.unwrap_or([face.left, face.top, face.right, face.bottom]);
        compared.bounds =
            Some([left.min(face.left), top.min(face.top), right.max(face.right), bottom.max(face.bottom)]);
        last.push([&seen.mesh, &new.mesh].map(shape::normalised));
        if let [.., a, b, c] = &last[..]
            && every == 1
        {
            compared.shakes.push([0, 1].map(|clip| shape::shake([&a[clip], &b[clip], &c[clip]])));
        }
    }
    Ok(compared)
}

fn pair(number: usize, source: &[f32], [seen, new]: [&Seen; 2], frames: [&Frame; 2], same: &mut Same) -> Pair {
    let fit = shape::Fit::of(&seen.mesh, &new.mesh);
    let hull = Hull::of(&seen.mesh);
    let [planes, new_planes] = frames.map(Frame::planes);
    for plane in 0..3 {
        hull.same_outside([planes[plane], new_planes[plane]], u8::from(plane > 0), same);
    }
    let [eyes, new_eyes] = [seen, new].map(|seen| seen.openness.map(f64::from));
    Pair {
        number,
        to_source: cosine(source, &new.embedding),
        to_original: cosine(&seen.embedding, &new.embedding),
        before: cosine(source, &seen.embedding),
        pose: fit.degrees(),
        expression: fit.residual(&seen.mesh, &new.mesh),
        mouth: (shape::mouth(&seen.mesh) - shape::mouth(&new.mesh)).abs(),
        eyes: 50.0 * ((eyes[0] - new_eyes[0]).abs() + (eyes[1] - new_eyes[1]).abs()),
        detail: [planes[0], new_planes[0]].map(|luma| hull.detail(luma).map(hull::Energy::rms)),
    }
}

fn column(pairs: &[Pair], value: impl Fn(&Pair) -> f64) -> Vec<f64> {
    pairs.iter().map(value).collect()
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// The value that 95 of 100 do not exceed.
fn p95(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[(values.len() * 95 / 100).min(values.len() - 1)]
}

fn print(compared: &Compared) {
    let Compared { pairs, frames, lost, same, shakes, .. } = compared;
    println!("{frames} frames looked at, {} with a face before and after, {lost} whose face was lost\n", pairs.len());
    println!("| measure | mean | worst |");
    println!("|---|---:|---:|");
    let cosines: [(&str, Measure); 3] = [
        ("identity: cosine to the source", |pair| pair.to_source),
        ("the original's own cosine to the source", |pair| pair.before),
        ("cosine to the original", |pair| pair.to_original),
    ];
    for (name, value) in cosines {
        let values = column(pairs, value);
        println!(
            "| {name} (worst: lowest) | {:.3} | {:.3} |",
            mean(&values),
            values.iter().fold(1.0, |a: f64, b| a.min(*b))
        );
    }
    let errors: [(&str, Measure); 4] = [
        ("pose error, degrees", |pair| pair.pose),
        ("expression error, % of IOD", |pair| pair.expression),
        ("mouth's opening, error in % of IOD", |pair| pair.mouth),
        ("eyes' opening, error in % of their width squared", |pair| pair.eyes),
    ];
    for (name, value) in errors {
        let values = column(pairs, value);
        println!("| {name} (worst: 95 of 100) | {:.2} | {:.2} |", mean(&values), p95(values));
    }
    if !shakes.is_empty() {
        let [before, after] = [0, 1].map(|clip| mean(&shakes.iter().map(|shake| shake[clip]).collect::<Vec<_>>()));
        println!(
            "| jitter of landmarks, swapped ÷ original ({after:.3} ÷ {before:.3} % of IOD) | {:.3} | |",
            after / before
        );
    }
    for (place, name) in ["inside the face", "around it"].into_iter().enumerate() {
        let [before, after] = [0, 1].map(|clip| mean(&column(pairs, |pair| pair.detail[clip][place])));
        println!("| sharpness {name}, swapped ÷ original | {:.3} | |", after / before);
    }
    let share = 100.0 * same.equal as f64 / same.all.max(1) as f64;
    println!(
        "| samples outside the face that are the same, % ({} of {} differ) | {share:.4} | |",
        same.all - same.equal,
        same.all
    );
}

/// Numbers of the frames for the sheet, in order.
fn chosen(pairs: &[Pair]) -> Vec<usize> {
    let count = EVEN.min(pairs.len());
    let mut numbers: Vec<usize> =
        (0..count).map(|i| pairs[i * (pairs.len() - 1) / (count - 1).max(1)].number).collect();
    for badness in WORST {
        let rest = pairs.iter().filter(|pair| !numbers.contains(&pair.number));
        let worst = rest.max_by(|a, b| badness(a).total_cmp(&badness(b)));
        numbers.extend(worst.map(|pair| pair.number));
    }
    numbers.sort_unstable();
    numbers.dedup();
    numbers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clip_is_as_good_as_itself() {
        let clip = crate::clips::demo().unwrap();
        let mut judge = Judge::load(&[crate::clips::portrait()]).unwrap();
        let compared = compare(&mut judge, [&clip, &clip], 1, Some(5)).unwrap();
        assert_eq!((compared.pairs.len(), compared.lost, compared.shakes.len()), (5, 0, 3));
        assert!(compared.same.all > 100_000 && compared.same.equal == compared.same.all, "{:?}", compared.same);
        assert!(compared.shakes.iter().all(|[before, after]| before == after && *before > 0.0));
        for pair in &compared.pairs {
            assert!((pair.to_original - 1.0).abs() < 1e-5 && pair.to_source == pair.before && pair.before < 0.3);
            assert!(pair.pose < 1e-3 && pair.expression < 1e-3 && pair.mouth == 0.0 && pair.eyes == 0.0);
            assert_eq!(pair.detail[0], pair.detail[1]);
        }
        assert_eq!(chosen(&compared.pairs), [0, 1, 2, 3, 4]);
        let crop = compared.crop().unwrap();
        assert!(crop.x + crop.width <= 640 && crop.y + crop.height <= 360 && crop.width > 60, "{crop:?}");
        print(&compared);
    }
}
