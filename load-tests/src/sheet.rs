//! A contact sheet: frames before, and below each the same frame after.

use std::path::Path;
use std::str::FromStr;

use anyhow::{Context, Result, ensure};
use image::{RgbImage, imageops};

use crate::clips::rgb_frames;

/// Pixels between pictures.
const GAP: u32 = 6;

/// Part of a frame, pixels.
#[derive(Clone, Copy, Debug)]
pub struct Crop {
    pub width: u32,
    pub height: u32,
    pub x: u32,
    pub y: u32,
}

impl FromStr for Crop {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let expected = || "expected WIDTHxHEIGHT+X+Y".to_owned();
        let numbers: Vec<u32> = text.split(['x', '+']).filter_map(|number| number.parse().ok()).collect();
        let [width, height, x, y] = numbers[..] else { return Err(expected()) };
        Ok(Self { width, height, x, y })
    }
}

/// Writes the sheet.
pub fn run(before: &Path, after: &Path, output: &Path, frames: &[usize], crop: Option<Crop>) -> Result<()> {
    let rows = [pick(before, frames, crop)?, pick(after, frames, crop)?];
    let (width, height) = rows[0].first().context("at least one frame")?.dimensions();
    let columns = frames.len() as u32;
    let mut sheet =
        RgbImage::from_pixel(columns * (width + GAP) - GAP, 2 * (height + GAP) - GAP, image::Rgb([255, 255, 255]));
    for (row, pictures) in rows.iter().enumerate() {
        for (column, picture) in pictures.iter().enumerate() {
            let place = (column as i64 * i64::from(width + GAP), row as i64 * i64::from(height + GAP));
            imageops::replace(&mut sheet, picture, place.0, place.1);
        }
    }
    sheet.save(output)?;
    println!("{}", output.display());
    Ok(())
}

fn pick(clip: &Path, frames: &[usize], crop: Option<Crop>) -> Result<Vec<RgbImage>> {
    let mut picked = vec![None; frames.len()];
    rgb_frames(clip, |number, frame| {
        for (place, _) in frames.iter().enumerate().filter(|(_, wanted)| **wanted == number) {
            let Crop { width, height, x, y } =
                crop.unwrap_or(Crop { width: frame.width(), height: frame.height(), x: 0, y: 0 });
            picked[place] = Some(imageops::crop_imm(&frame, x, y, width, height).to_image());
        }
        Ok(())
    })?;
    let found: Vec<RgbImage> = picked.into_iter().flatten().collect();
    ensure!(found.len() == frames.len(), "{} has not all of the frames {frames:?}", clip.display());
    Ok(found)
}
