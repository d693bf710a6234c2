//! Whose face is it? Cosine of SFace embeddings between a photo and each frame of a clip, before and after.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use facemill::config::Config;
use facemill::frame::{Frame, Matrix, Pixels};
use facemill::photo;
use facemill::vision::embed::{Recogniser, cosine};
use facemill::vision::{Catalog, Execution, TrackNets, detect_and_mesh, model};
use image::RgbImage;

use crate::clips::rgb_frames;

/// Prints the averages over every frame in which a face is found before.
pub fn run(photo: &Path, before: &Path, after: &Path, every: usize, at_least: Option<f64>) -> Result<()> {
    let config = Config::load(None, serde_json::json!({}))?;
    model::init(&config.onnxruntime_library())?;
    let catalog = Catalog::builtin()?;
    let execution = Execution::default();
    let mut judge =
        Judge { nets: TrackNets::load(&catalog, &execution)?, recogniser: Recogniser::load(&catalog, &execution)? };
    let portrait = photo::decode(&std::fs::read(photo)?)?;
    let portrait = judge.embedding(&portrait)?.context("the photo shows a face")?;
    let was = judge.cosines(before, &portrait, every)?;
    let is = judge.cosines(after, &portrait, every)?;
    let pairs: Vec<(f64, f64)> = was.iter().zip(&is).filter_map(|(was, is)| Some(((*was)?, (*is)?))).collect();
    let mean = |values: Vec<f64>| values.iter().sum::<f64>() / values.len() as f64;
    let (before, after) =
        (mean(pairs.iter().map(|pair| pair.0).collect()), mean(pairs.iter().map(|pair| pair.1).collect()));
    let (looked_at, with_face) = (was.len(), pairs.len());
    println!(
        "frames looked at {looked_at}, with a face {with_face}: cosine to the photo {before:.3} before, {after:.3} after"
    );
    ensure!(at_least.is_none_or(|least| after >= least), "the average after is below {}", at_least.unwrap_or_default());
    Ok(())
}

struct Judge {
    nets: TrackNets,
    recogniser: Recogniser,
}

impl Judge {
    fn embedding(&mut self, picture: &RgbImage) -> Result<Option<[f32; 128]>> {
        let (width, height) = (picture.width() as usize, picture.height() as usize);
        let planes = Frame::from_rgb(width, height, picture, Matrix::Bt601);
        let faces = detect_and_mesh(&mut self.nets, &planes.view())?;
        let Some(face) = faces.first() else { return Ok(None) };
        Ok(Some(self.recogniser.embedding(&planes.view(), &face.face.mesh.five_points())?))
    }

    fn cosines(&mut self, clip: &Path, portrait: &[f32; 128], every: usize) -> Result<Vec<Option<f64>>> {
        let mut cosines = Vec::new();
        rgb_frames(clip, |number, frame| {
            if number % every == 0 {
                cosines.push(self.embedding(&frame)?.map(|found| cosine(&found, portrait)));
            }
            Ok(())
        })?;
        Ok(cosines)
    }
}
