//! What the tests of this module share: ONNX Runtime, and a moving picture with a real face and known motion.

use std::sync::OnceLock;

use image::RgbImage;

use crate::frame::{ChromaSite, Color, Frame, Matrix, Pixels, Sample, Transfer, Turn};

use super::catalog::Catalog;
use super::find::TrackNets;
use super::model::{self, Execution};

pub mod tiny;

/// Loads the ONNX Runtime that the program would load.
pub fn init() {
    let config = crate::config::Config::load(None, serde_json::json!({})).expect("the default configuration is valid");
    model::init(&config.onnxruntime_library()).expect("ONNX Runtime is there (make setup)");
}

/// The tracker's networks.
pub fn nets() -> TrackNets {
    init();
    TrackNets::load(&Catalog::builtin().unwrap(), &Execution::default()).unwrap()
}

/// The demo's portrait, 512×512.
pub fn portrait() -> &'static RgbImage {
    static PORTRAIT: OnceLock<RgbImage> = OnceLock::new();
    PORTRAIT.get_or_init(|| {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/demo/portrait.jpg");
        image::open(file).expect("the demo's portrait is part of the repository").to_rgb8()
    })
}

/// BT.709, limited range: what most clips are.
pub const CLIP_COLOR: Color = Color::sdr(Matrix::Bt709, false);

/// Draws `rgb(x, y)` (0..=255) into a 4:2:0 picture; chroma is that of the luma samples around its own place.
pub fn draw(width: usize, height: usize, color: Color, rgb: impl Fn(usize, usize) -> [f32; 3]) -> Frame {
    draw_deep(width, height, color, rgb)
}

/// The same at any depth. In an HDR picture `rgb` is what an ordinary screen shows for it.
pub fn draw_deep<S: Sample>(
    width: usize,
    height: usize,
    color: Color,
    rgb: impl Fn(usize, usize) -> [f32; 3],
) -> Frame<S> {
    let (kr, kb) = color.matrix.coefficients();
    let signal = |level: f32| match color.transfer {
        Transfer::Sdr => level,
        hdr => (255.0 * hdr.signal(f64::from(level) / 255.0)) as f32,
    };
    let ycc = |x: usize, y: usize| {
        let [r, g, b] = rgb(x, y).map(signal);
        let luma = kr * r + (1.0 - kr - kb) * g + kb * b;
        [luma, (b - luma) / (2.0 - 2.0 * kb), (r - luma) / (2.0 - 2.0 * kr)]
    };
    let full: Vec<[f32; 3]> = (0..width * height).map(|i| ycc(i % width, i / width)).collect();
    let mut frame = Frame::<S>::grey_at(width, height, (1, 1), color);
    debug_assert_eq!(frame.view().site, ChromaSite::Left);
    let mut planes = frame.planes_mut();
    let (luma_gain, luma_floor, chroma_gain) =
        if color.full_range { (1.0, 0.0, 1.0) } else { (219.0 / 255.0, 16.0, 224.0 / 255.0) };
    let sample = |value: f32, floor: f32| S::nearest((value * color.unit() + floor).round(), color.max());
    for y in 0..height {
        for (x, out) in planes[0].row_mut(y).iter_mut().enumerate() {
            *out = sample(full[y * width + x][0] * luma_gain + luma_floor, 0.0);
        }
    }
    for channel in [1, 2] {
        for y in 0..height.div_ceil(2) {
            for (x, out) in planes[channel].row_mut(y).iter_mut().enumerate() {
                // Left-sited: over luma column 2x, between two rows; columns weigh 1 2 1.
                let mut sum = 0.0;
                for (column, weight) in [(2 * x).saturating_sub(1), 2 * x, 2 * x + 1].into_iter().zip([1.0, 2.0, 1.0]) {
                    for row in [2 * y, 2 * y + 1] {
                        sum += weight * full[row.min(height - 1) * width + column.min(width - 1)][channel];
                    }
                }
                *out = sample(sum / 8.0 * chroma_gain, color.neutral());
            }
        }
    }
    frame
}

/// Where the portrait's face is put.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    /// Where its centre goes, pixels.
    pub centre: [f32; 2],
    /// Pixels per pixel of the portrait.
    pub scale: f32,
    /// Rotation from x towards y, radians.
    pub angle: f32,
}

/// The centre of the face in the portrait, pixels; its eyes are 46 pixels apart.
const FACE: [f32; 2] = [222.0, 120.0];

/// How a face sways, nods, turns and comes nearer in a made-up clip.
pub fn sway(index: u64, width: usize, height: usize) -> Place {
    let t = index as f32;
    Place {
        centre: [width as f32 * (0.5 + 0.15 * (t * 0.05).sin()), height as f32 * (0.5 + 0.06 * (t * 0.13).cos())],
        scale: 0.55 * (1.0 + 0.12 * (t * 0.07).sin()) * height as f32 / 180.0,
        angle: 0.18 * (t * 0.11).sin(),
    }
}

/// The portrait, cut out as an oval, at some places over a textured ground.
pub fn portrait_at(places: &[Place], width: usize, height: usize) -> Frame {
    portrait_in(CLIP_COLOR, places, width, height)
}

/// The same in any colour and depth.
pub fn portrait_in<S: Sample>(color: Color, places: &[Place], width: usize, height: usize) -> Frame<S> {
    draw_deep(width, height, color, |x, y| portrait_pixel(places, x, y))
}

/// The same, stored such that it is seen as `width × height` pixels when it is shown turned by `turn`.
pub fn portrait_stored(turn: Turn, places: &[Place], width: usize, height: usize) -> Frame {
    let (columns, rows) = turn.shown((width, height));
    let back = Turn::nearest(-i32::from(turn.degrees()));
    let stored = draw(columns, rows, CLIP_COLOR, |x, y| {
        let [x, y] = back.to_stored([x as f64, y as f64], (width, height));
        portrait_pixel(places, x as usize, y as usize)
    });
    stored.shown_turned(turn)
}

fn portrait_pixel(places: &[Place], x: usize, y: usize) -> [f32; 3] {
    for place in places {
        let (sin, cos) = place.angle.sin_cos();
        let (dx, dy) = ((x as f32 - place.centre[0]) / place.scale, (y as f32 - place.centre[1]) / place.scale);
        let (u, v) = (cos * dx + sin * dy, cos * dy - sin * dx);
        if (u / 100.0).powi(2) + (v / 118.0).powi(2) < 1.0 {
            return bilinear(portrait(), FACE[0] + u, FACE[1] + v);
        }
    }
    ground(x as f32, y as f32)
}

/// Frame `index` of a made-up clip of one face, see [`sway`].
pub fn moving_portrait(index: u64, width: usize, height: usize) -> Frame {
    portrait_at(&[sway(index, width, height)], width, height)
}

fn ground(x: f32, y: f32) -> [f32; 3] {
    let wave = (x * 0.31).sin() * (y * 0.23).cos() * 24.0 + (x * 0.05 + y * 0.03).sin() * 40.0;
    [110.0 + wave, 120.0 + 0.8 * wave, 90.0 - 0.5 * wave]
}

fn bilinear(photo: &RgbImage, x: f32, y: f32) -> [f32; 3] {
    let clamp = |value: f32, size: u32| value.clamp(0.0, size as f32 - 1.001);
    let (x, y) = (clamp(x, photo.width()), clamp(y, photo.height()));
    let (x0, y0) = (x as u32, y as u32);
    let (fx, fy) = (x.fract(), y.fract());
    std::array::from_fn(|channel| {
        let at = |dx, dy| f32::from(photo.get_pixel(x0 + dx, y0 + dy)[channel]);
        (at(0, 0) * (1.0 - fx) + at(1, 0) * fx) * (1.0 - fy) + (at(0, 1) * (1.0 - fx) + at(1, 1) * fx) * fy
    })
}
