//! Larger pictures, by networks that repeat pixels or take means of them, on cards of the field.

use super::*;
use crate::frame::{Frame, Matrix, Pixels, Planes};
use crate::vision::testing::tiny::{self, Gives};
use crate::vision::testing::{self, CLIP_COLOR};

const SETTINGS: UpscalerSettings = UpscalerSettings { id: String::new(), blend: 1.0 };

/// The upscaler of card `id`: each pixel becomes the mean of `size` around it either way, then as many as it enlarges.
fn upscaler(id: &str, size: u64, blend: f32) -> Upscaler {
    testing::init();
    let folder = tempfile::tempdir().unwrap();
    let known = Catalog::builtin().unwrap();
    let factor = factor_of(&known, id);
    tiny::write(&known, id, folder.path(), &[Gives::Larger("input", size, factor)], None);
    let settings = UpscalerSettings { id: id.to_owned(), blend };
    Upscaler::load(&Catalog::open(folder.path()).unwrap(), &settings, &Execution::default()).unwrap()
}

fn factor_of(known: &Catalog, id: &str) -> usize {
    let Some(Contract::Upscaler(contract)) = &known.card(id).unwrap().contract else { panic!("{id}") };
    contract.factor
}

/// No two neighbours alike, and no colour out of reach; each pixel with a colour of its own.
fn picture(width: usize, height: usize) -> Frame {
    let level = |x: usize, y: usize| ((x * 37 + y * 59 + x * y * 13) % 97) as u8;
    let pixels = (0..height).flat_map(|y| (0..width).map(move |x| level(x, y)));
    let rgb: Vec<u8> = pixels.flat_map(|level| [70 + level, 150 - level / 2, 90 + level / 3]).collect();
    Frame::from_rgb(width, height, &rgb, Matrix::Bt709)
}

/// Of every upscaler, whatever the picture's size over that of a tile: what the network makes of the whole picture at once.
#[test]
fn tiles_leave_no_seam() {
    for (id, (width, height)) in [
        ("real_esrgan_x2", (500, 230)),
        ("real_esrgan_x2", (224, 225)),
        ("real_esrgan_x2_fp16", (17, 239)),
        ("real_esrgan_x4", (300, 40)),
        ("real_esrgan_x8", (233, 9)),
        ("real_esrgan_x4_fp16", (20, 12)),
        ("real_esrgan_x8_fp16", (12, 20)),
    ] {
        let mut upscaler = upscaler(id, 3, 1.0);
        let factor = upscaler.factor();
        let frame = picture(width, height);
        let made = upscaler.rgb(&frame.view()).unwrap();
        let side = width.max(height);
        let whole = Aligned::sample(&frame.view(), Affine([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]), side);
        for channel in 0..3 {
            let seen = whole.channel(channel);
            let made = &made[channel * factor * factor * width * height..];
            for (x, y) in (0..height).flat_map(|y| (0..width).map(move |x| (x, y))) {
                let near = |at: usize, size: usize| [at.saturating_sub(1), at, (at + 1).min(size - 1)];
                let around = near(y, height).into_iter().flat_map(|y| near(x, width).map(|x| seen[y * side + x]));
                let expected = around.sum::<f32>() / 9.0;
                for (dx, dy) in [(0, 0), (factor - 1, 0), (0, factor - 1), (factor - 1, factor - 1)] {
                    let found = made[(y * factor + dy) * factor * width + x * factor + dx];
                    assert!((found - expected).abs() < 0.5, "{id} at {x}, {y}: {found}, expected {expected}");
                }
            }
        }
    }
}

#[test]
fn what_is_not_blended_in_is_interpolated() {
    let ramp = testing::draw(400, 20, CLIP_COLOR, |x, _| [20.0 + 0.5 * x as f32; 3]);
    for (blend, is_smooth) in [(0.0, true), (1.0, false)] {
        let mut upscaler = upscaler("real_esrgan_x2", 1, blend);
        let made = upscaler.rgb(&ramp.view()).unwrap();
        let row = &made[20 * 800..][..800];
        // Repeated, every second step is none.
        let steps = row[2..798].chunks_exact(2).filter(|pair| pair[0] == pair[1]).count();
        assert_eq!(steps > 300, !is_smooth, "{blend}: {steps} of 398");
    }
}

/// Pictures of every layout and depth come out with the samples that went in; also those of HDR, whose signal is left as it is.
#[test]
fn every_layout_and_depth_keeps_its_values() {
    let pq = Color { transfer: Transfer::Pq, ..Color::sdr(Matrix::Bt2020, false).at_depth(10) };
    for color in [CLIP_COLOR, Color::sdr(Matrix::Bt601, true), CLIP_COLOR.at_depth(10), CLIP_COLOR.at_depth(16), pq] {
        for shift in [(1, 1), (1, 0), (0, 0), (2, 0)] {
            match color.depth {
                8 => keeps::<u8>(color, shift),
                _ => keeps::<u16>(color, shift),
            }
        }
    }
}

fn keeps<S: Sample>(color: Color, shift: (u8, u8)) {
    let (width, height) = (61, 33);
    let mut frame = Frame::<S>::grey_at(width, height, shift, color);
    for (plane, (from, by)) in frame.planes_mut().into_iter().zip([(60.0, 1.0), (120.0, 0.2), (134.0, -0.2)]) {
        for (place, sample) in plane.data.iter_mut().enumerate() {
            let ramp = (place % plane.width) as f32 / plane.width as f32 * 61.0;
            *sample = S::nearest((from + by * ramp) * color.unit(), color.max());
        }
    }
    let mut larger = Frame::<S>::grey_at(2 * width, 2 * height, shift, color);
    upscaler("real_esrgan_x2", 1, 1.0).enlarge(&frame.view(), &mut larger.view_mut()).unwrap();
    for (plane, (before, after)) in frame.planes().into_iter().zip(larger.planes()).enumerate() {
        for (x, y) in (0..after.height).flat_map(|y| (0..after.width).map(move |x| (x, y))) {
            let value = |sample: S| Into::<f32>::into(sample) / color.unit();
            let (x_before, y_before) = ((x / 2).min(before.width - 1), (y / 2).min(before.height - 1));
            let (found, expected) = (value(after.row(y)[x]), value(before.row(y_before)[x_before]));
            assert!((found - expected).abs() < 1.6, "{color:?} {shift:?}, plane {plane}: {found} of {expected}");
        }
    }
    assert!(matches!(larger.view().planes, Planes::U8(_)) == (color.depth == 8));
}

#[test]
fn what_is_no_upscaler_is_told() {
    testing::init();
    let catalog = Catalog::builtin().unwrap();
    let error = |id: &str| factor(&catalog, id).unwrap_err().to_string();
    assert!(error("real_esrgan_x2").starts_with("model real_esrgan_x2 is not installed"));
    assert_eq!(error("sface_2021dec"), "model sface_2021dec is a recogniser (expected a upscaler)");
    let settings = UpscalerSettings { id: "nobody".to_owned(), ..SETTINGS };
    let error = Upscaler::load(&catalog, &settings, &Execution::default()).err().unwrap().to_string();
    assert!(error.starts_with("model nobody is unknown (expected one of: real_esrgan_x2, "), "{error}");
}
