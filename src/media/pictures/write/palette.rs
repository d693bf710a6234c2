//! A palette of at most 256 colours: those of untouched pixels as they are, the others by median cut (Heckbert 1982), with the error
//! diffused (Floyd and Steinberg 1976).

use std::collections::BTreeMap;

/// A colour, RGB.
type Rgb = [u8; 3];

/// Most entries of a palette.
const ENTRIES: usize = 256;
/// Entries that new colours get at least, as far as there are so many: a white label on a picture that fills its palette is white.
const FOR_NEW: usize = 8;

/// What is wanted of a pixel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pixel {
    /// Nothing: what is below shows through.
    Clear,
    /// Just this colour, if it can be.
    Kept(Rgb),
    /// A colour near this one.
    New(Rgb),
}

/// Pixels as numbers of colours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Indexed {
    /// R, G, B of each entry.
    pub palette: Vec<u8>,
    pub indices: Vec<u8>,
    /// The entry that is not shown.
    pub transparent: Option<u8>,
}

/// Finds a palette, and each pixel's entry. `pixels` stand row by row, `width` in a row.
pub(super) fn indexed(pixels: &[Pixel], width: usize) -> Indexed {
    let has_clear = pixels.contains(&Pixel::Clear);
    let room = ENTRIES - usize::from(has_clear);
    let mut kept: BTreeMap<Rgb, u64> = BTreeMap::new();
    let mut new: BTreeMap<Rgb, u64> = BTreeMap::new();
    for pixel in pixels {
        match pixel {
            Pixel::Clear => {}
            Pixel::Kept(color) => *kept.entry(*color).or_default() += 1,
            Pixel::New(color) => *new.entry(*color).or_default() += 1,
        }
    }
    new.retain(|color, _| !kept.contains_key(color));
    if kept.len() <= room {
        make_way(&mut kept, room - new.len().min(FOR_NEW));
    }
    let mut colors: Vec<Rgb> = kept.keys().copied().collect();
    if kept.len() > room {
        // A canvas of several palettes that changes all at once.
        kept.append(&mut new);
        colors = median_cut(kept.into_iter().collect(), room);
    } else if kept.len() + new.len() <= room {
        colors.extend(new.keys());
    } else if kept.len() < room {
        colors.extend(median_cut(new.into_iter().collect(), room - kept.len()));
    }
    colors.sort_unstable();
    colors.dedup();
    let transparent = has_clear.then_some(colors.len() as u8);
    let indices = fitted(pixels, width, &colors, transparent.unwrap_or(0));
    let mut palette = colors.concat();
    if has_clear {
        palette.extend([0; 3]);
    }
    Indexed { palette, indices, transparent }
}

/// Leaves out the rarest colours until there are at most `room`: their pixels get the nearest of the others.
fn make_way(colors: &mut BTreeMap<Rgb, u64>, room: usize) {
    let excess = colors.len().saturating_sub(room);
    let mut by_pixels: Vec<(u64, Rgb)> = colors.iter().map(|(color, count)| (*count, *color)).collect();
    by_pixels.sort_unstable();
    for (_, color) in by_pixels.into_iter().take(excess) {
        colors.remove(&color);
    }
}

/// Entries for all pixels; what a colour is off is made up for by its neighbours of the right and below, where those are new too.
fn fitted(pixels: &[Pixel], width: usize, colors: &[Rgb], transparent: u8) -> Vec<u8> {
    let mut indices = Vec::with_capacity(pixels.len());
    // Sixteenths of a step, of this row and the next, with a pixel on either side.
    let mut errors = [vec![[0_i32; 3]; width + 2], vec![[0_i32; 3]; width + 2]];
    for row in pixels.chunks(width) {
        for (x, pixel) in row.iter().enumerate() {
            let (color, owed) = match pixel {
                Pixel::Clear => {
                    indices.push(transparent);
                    continue;
                }
                Pixel::Kept(color) => (*color, [0; 3]),
                Pixel::New(color) => (*color, errors[0][x + 1]),
            };
            let wanted: [i32; 3] =
                std::array::from_fn(|k| (i32::from(color[k]) + owed[k].div_euclid(16)).clamp(0, 255));
            let index = match colors.binary_search(&wanted.map(|sample| sample as u8)) {
                Ok(index) => index,
                Err(_) => nearest(colors, wanted),
            };
            indices.push(index as u8);
            if matches!(pixel, Pixel::New(_)) && !colors.is_empty() {
                for k in 0..3 {
                    let error = wanted[k] - i32::from(colors[index][k]);
                    errors[0][x + 2][k] += 7 * error;
                    errors[1][x][k] += 3 * error;
                    errors[1][x + 1][k] += 5 * error;
                    errors[1][x + 2][k] += error;
                }
            }
        }
        errors.swap(0, 1);
        errors[1].fill([0; 3]);
    }
    indices
}

fn nearest(colors: &[Rgb], wanted: [i32; 3]) -> usize {
    let distance = |color: &Rgb| -> i32 { (0..3).map(|k| (i32::from(color[k]) - wanted[k]).pow(2)).sum() };
    (0..colors.len()).min_by_key(|&index| distance(&colors[index])).unwrap_or(0)
}

/// At most `room` colours that stand for these, each with how often it comes.
fn median_cut(colors: Vec<(Rgb, u64)>, room: usize) -> Vec<Rgb> {
    let mut boxes = vec![colors];
    while boxes.len() < room {
        // The box with the longest side, weighed by its pixels.
        let worth = |colors: &Vec<(Rgb, u64)>| {
            let (_, side) = longest_side(colors);
            u64::from(side) * colors.iter().map(|(_, count)| count).sum::<u64>()
        };
        let Some(widest) = (0..boxes.len()).max_by_key(|&index| worth(&boxes[index])) else { break };
        let (axis, side) = longest_side(&boxes[widest]);
        if side == 0 {
            break;
        }
        let mut lower = boxes.swap_remove(widest);
        lower.sort_unstable_by_key(|(color, _)| (color[axis], *color));
        let half = lower.iter().map(|(_, count)| count).sum::<u64>() / 2;
        let mut seen = 0;
        let at = lower.iter().position(|(_, count)| {
            seen += count;
            seen > half
        });
        let upper = lower.split_off(at.unwrap_or(1).clamp(1, lower.len() - 1));
        boxes.extend([lower, upper]);
    }
    boxes.iter().filter(|colors| !colors.is_empty()).map(|colors| mean(colors)).collect()
}

/// Axis and length.
fn longest_side(colors: &[(Rgb, u64)]) -> (usize, u8) {
    let side = |axis: usize| {
        let values = || colors.iter().map(|(color, _)| color[axis]);
        values().max().unwrap_or(0) - values().min().unwrap_or(0)
    };
    (0..3).map(|axis| (axis, side(axis))).max_by_key(|&(axis, side)| (side, 3 - axis)).unwrap_or((0, 0))
}

fn mean(colors: &[(Rgb, u64)]) -> Rgb {
    let total = colors.iter().map(|(_, count)| count).sum::<u64>().max(1);
    std::array::from_fn(|k| {
        let sum: u64 = colors.iter().map(|(color, count)| u64::from(color[k]) * count).sum();
        ((sum + total / 2) / total) as u8
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(result: &Indexed) -> Vec<Option<Rgb>> {
        let color = |index: u8| result.palette.as_chunks::<3>().0[usize::from(index)];
        result.indices.iter().map(|&index| (Some(index) != result.transparent).then(|| color(index))).collect()
    }

    #[test]
    fn few_colours_are_kept_exactly() {
        let pixels: Vec<Pixel> =
            (0..=254).map(|n| Pixel::New([n, 255 - n, 7])).chain([Pixel::Clear, Pixel::Kept([0, 255, 7])]).collect();
        let result = indexed(&pixels, 16);
        assert_eq!(result.palette.len(), 3 * 256);
        let expected: Vec<Option<Rgb>> = pixels
            .iter()
            .map(|pixel| match pixel {
                Pixel::Clear => None,
                Pixel::Kept(color) | Pixel::New(color) => Some(*color),
            })
            .collect();
        assert_eq!(shown(&result), expected);
    }

    #[test]
    fn untouched_colours_stay_and_new_ones_are_near() {
        let kept = (0..200_u8).map(|n| Pixel::Kept([n, 0, 0]));
        let new = (0..4000_u32).map(|n| Pixel::New([(n % 64 * 4) as u8, 128 + (n / 64) as u8, 90]));
        let pixels: Vec<Pixel> = kept.chain(new).collect();
        let result = indexed(&pixels, 60);
        assert!(result.palette.len() <= 3 * 256 && result.transparent.is_none());
        let (mut worst, mut sums) = (0, [0_i64; 3]);
        for (pixel, shown) in pixels.iter().zip(shown(&result)) {
            let shown = shown.unwrap();
            match pixel {
                Pixel::Kept(color) => assert_eq!(shown, *color),
                Pixel::New(color) => (0..3).for_each(|k| {
                    let off = i32::from(shown[k]) - i32::from(color[k]);
                    sums[k] += i64::from(off);
                    worst = worst.max(off.abs());
                }),
                Pixel::Clear => unreachable!(),
            }
        }
        assert!(worst < 64, "{worst}");
        assert!(sums.iter().all(|sum| sum.abs() < 4000), "the error is diffused: {sums:?}");
    }

    #[test]
    fn new_colours_have_room_in_a_palette_that_is_full() {
        let kept = (0..=255_u8).flat_map(|n| vec![Pixel::Kept([n, 0, 0]); if n == 77 { 1 } else { 3 }]);
        let pixels: Vec<Pixel> = kept.chain([Pixel::New([255, 255, 255]); 40]).collect();
        let result = indexed(&pixels, 50);
        assert_eq!(result.palette.len(), 3 * 256);
        for (pixel, shown) in pixels.iter().zip(shown(&result)) {
            let color = match pixel {
                // The rarest makes way.
                Pixel::Kept([77, 0, 0]) => {
                    assert!(matches!(shown, Some([76 | 78, 0, 0])), "{shown:?}");
                    continue;
                }
                Pixel::Kept(color) | Pixel::New(color) => *color,
                Pixel::Clear => unreachable!(),
            };
            assert_eq!(shown, Some(color));
        }
    }

    #[test]
    fn too_many_untouched_colours_are_fitted_too() {
        let pixels: Vec<Pixel> = (0..600_u32).map(|n| Pixel::Kept([(n % 256) as u8, (n / 256) as u8, 0])).collect();
        let result = indexed(&pixels, 30);
        assert_eq!(result.palette.len(), 3 * 256);
        assert_eq!(result, indexed(&pixels, 30), "the same every time");
    }
}
