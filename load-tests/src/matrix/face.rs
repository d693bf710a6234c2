//! Whether the face was changed, and nothing but the face: lossless outputs against their source, sample by sample.

use std::ops::Range;
use std::path::Path;

use anyhow::{Result, ensure};

use super::compare::Finding;
use super::look::{Picture, samples};

/// Where the demo's face is in the recipes' six seconds, with room for hair and shoulders, as parts of the picture's width and
/// height: nothing else may change.
const FACE: (Range<f64>, Range<f64>) = (0.47..0.97, 0.0..1.0);
/// A frame counts as swapped if this part of those samples has changed…
const CHANGED_LEAST: f64 = 0.02;
/// …and of all frames, which begin and end in the middle of a movement, this part must be.
const SWAPPED_LEAST: f64 = 0.95;

/// One plane of a frame as it lies in raw video.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Plane {
    width: usize,
    height: usize,
}

/// What a swap without loss did to the frames.
pub fn judge(source: &Path, output: &Path, picture: &Picture) -> Result<Vec<Finding>> {
    let (before, after) = (samples(source)?, samples(output)?);
    ensure!(before.len() == after.len(), "{} bytes of frames, were {}", after.len(), before.len());
    let (planes, bytes) = planes(picture)?;
    let is_turned = picture.size.1 > picture.size.0;
    let size: usize = planes.iter().map(|plane| plane.width * plane.height * bytes).sum();
    let (mut frames, mut swapped, mut outside) = (0, 0, 0);
    for (before, after) in before.chunks_exact(size).zip(after.chunks_exact(size)) {
        let mut rest = (before, after);
        for (number, plane) in planes.iter().enumerate() {
            let (was, is);
            let length = plane.width * plane.height * bytes;
            ((was, rest.0), (is, rest.1)) = (rest.0.split_at(length), rest.1.split_at(length));
            let (inside, beyond) = changes(*plane, bytes, was, is, &place(*plane, is_turned));
            outside += beyond;
            let face = area(&place(*plane, is_turned));
            swapped += usize::from(number == 0 && inside as f64 >= CHANGED_LEAST * face as f64);
        }
        frames += 1;
    }
    let mut found = Vec::new();
    if outside > 0 {
        found.push(Finding { what: "outside", detail: format!("{outside} samples beside the face have changed") });
    }
    if (swapped as f64) < SWAPPED_LEAST * f64::from(frames) {
        found.push(Finding { what: "face", detail: format!("the face has changed in {swapped} of {frames} frames") });
    }
    Ok(found)
}

/// Planes in their order, and bytes of a sample.
fn planes(picture: &Picture) -> Result<([Plane; 3], usize)> {
    let (width, height) = (picture.size.0 as usize, picture.size.1 as usize);
    let format = picture.pixels.strip_prefix("yuv").unwrap_or_default();
    let (right, down) = match format.get(..4) {
        Some("420p") => (2, 2),
        Some("422p") => (2, 1),
        Some("444p") => (1, 1),
        _ => anyhow::bail!("frames of {} are not looked at", picture.pixels),
    };
    let chroma = Plane { width: width.div_ceil(right), height: height.div_ceil(down) };
    Ok(([Plane { width, height }, chroma, chroma], if format.len() > 4 { 2 } else { 1 }))
}

/// Columns and rows of the face. A clip that stands upright was turned against the clock.
fn place(plane: Plane, is_turned: bool) -> (Range<usize>, Range<usize>) {
    let part = |range: &Range<f64>, length: usize| {
        (range.start * length as f64) as usize..(range.end * length as f64).ceil() as usize
    };
    let (across, down) = FACE;
    match is_turned {
        true => (part(&down, plane.width), part(&(1.0 - across.end..1.0 - across.start), plane.height)),
        false => (part(&across, plane.width), part(&down, plane.height)),
    }
}

fn area(place: &(Range<usize>, Range<usize>)) -> usize {
    place.0.len() * place.1.len()
}

/// Samples that have changed, in the face and beside it.
fn changes(plane: Plane, bytes: usize, was: &[u8], is: &[u8], face: &(Range<usize>, Range<usize>)) -> (usize, usize) {
    let (mut inside, mut beyond) = (0, 0);
    for row in 0..plane.height {
        let line = row * plane.width * bytes..(row + 1) * plane.width * bytes;
        if was[line.clone()] == is[line.clone()] {
            continue;
        }
        let pairs = was[line.clone()].chunks_exact(bytes).zip(is[line].chunks_exact(bytes));
        for (column, _) in pairs.enumerate().filter(|(_, (was, is))| was != is) {
            match face.0.contains(&column) && face.1.contains(&row) {
                true => inside += 1,
                false => beyond += 1,
            }
        }
    }
    (inside, beyond)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_are_told_apart_by_their_place() {
        let plane = Plane { width: 20, height: 10 };
        for bytes in [1, 2] {
            let was = vec![7; 20 * 10 * bytes];
            let mut is = was.clone();
            is[(3 * 20 + 12) * bytes] = 8; // in the right half
            is[(3 * 20 + 2) * bytes] = 8;
            is[(4 * 20 + 3) * bytes + bytes - 1] = 8;
            assert_eq!(changes(plane, bytes, &was, &is, &place(plane, false)), (1, 2));
        }
    }

    #[test]
    fn a_turned_face_is_looked_for_where_it_is() {
        assert_eq!(place(Plane { width: 320, height: 180 }, false), (150..311, 0..180));
        assert_eq!(place(Plane { width: 180, height: 320 }, true), (0..180, 9..170));
    }

    #[test]
    fn planes_follow_from_the_format() {
        let picture = |pixels: &str| Picture { size: (5, 3), pixels: pixels.to_owned(), ..Picture::default() };
        let (found, bytes) = planes(&picture("yuv420p10le")).unwrap();
        assert_eq!((found[0], found[1], bytes), (Plane { width: 5, height: 3 }, Plane { width: 3, height: 2 }, 2));
        let (found, bytes) = planes(&picture("yuv422p")).unwrap();
        assert_eq!((found[2], bytes), (Plane { width: 3, height: 3 }, 1));
        assert!(planes(&picture("bgra")).is_err());
    }
}
