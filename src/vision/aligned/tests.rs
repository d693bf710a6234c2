//! Agreement with `models/reference.json` (NumPy and OpenCV: `models/reference.py`), and what no reference says.

mod behaviour;

use std::sync::LazyLock;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::frame::{Color, Frame, Matrix, Pixels, PlaneRef, Sample};
use crate::vision::geometry::{Affine, Point};

use super::lab::Lab;
use super::mask::{self, CLASSES_SIDE, Region};
use super::{Aligned, Template, boost, colour, paste, project};

/// What is asked of floats, on a scale of 0..=1.
const FLOAT: f32 = 1e-4;
/// The same for colours 0..=255.
const COLOUR: f32 = 255.0 * FLOAT;

fn reference<T: DeserializeOwned>(part: &str) -> T {
    static REFERENCE: LazyLock<Value> = LazyLock::new(|| {
        serde_json::from_str(include_str!("../../../models/reference.json")).expect("models/reference.py wrote it")
    });
    serde_json::from_value(REFERENCE[part].clone()).unwrap_or_else(|error| panic!("{part}: {error}"))
}

/// Asserts that all values agree, and tells how well.
fn agree(what: &str, found: &[f32], expected: &[f32], tolerance: f32) {
    assert_eq!(found.len(), expected.len(), "{what}");
    let differences = found.iter().zip(expected).map(|(a, b)| (a - b).abs());
    let (at, worst) =
        differences.enumerate().fold((0, 0.0), |worst, next| if next.1 <= worst.1 { worst } else { next });
    println!("{what}: {worst:e} of {tolerance:e}");
    assert!(worst <= tolerance, "{what}: {} at {at}, expected {}", found[at], expected[at]);
    assert!(found.iter().all(|value| value.is_finite()), "{what}");
}

#[derive(Deserialize)]
struct Picture {
    matrix: String,
    full: bool,
    depth: u8,
    shift: (u8, u8),
    width: usize,
    height: usize,
    planes: [Vec<u16>; 3],
}

impl Picture {
    fn of(name: &str) -> Self {
        let all: Value = reference("pictures");
        serde_json::from_value(all[name].clone()).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    fn frame<S: Sample>(&self) -> Frame<S> {
        let matrix = match self.matrix.as_str() {
            "bt601" => Matrix::Bt601,
            "bt709" => Matrix::Bt709,
            _ => Matrix::Bt2020,
        };
        let color = Color::sdr(matrix, self.full).at_depth(self.depth);
        let mut frame = Frame::grey_at(self.width, self.height, self.shift, color);
        for (plane, samples) in frame.planes_mut().into_iter().zip(&self.planes) {
            assert_eq!(plane.data.len(), samples.len());
            for (to, sample) in plane.data.iter_mut().zip(samples) {
                *to = S::nearest(f32::from(*sample), color.max());
            }
        }
        frame
    }
}

fn matrix(values: &[f64]) -> Affine {
    Affine([[values[0], values[1], values[2]], [values[3], values[4], values[5]]])
}

#[test]
fn faces_lie_where_the_reference_puts_them() {
    #[derive(Deserialize)]
    struct Case {
        template: String,
        side: f64,
        points: Vec<f64>,
        to_picture: Vec<f64>,
    }
    for Case { template, side, points, to_picture } in reference::<Vec<Case>>("templates") {
        let face: [Point; 5] = std::array::from_fn(|i| [points[2 * i], points[2 * i + 1]]);
        let found = Template::from_name(&template).unwrap().to_picture(side, &face);
        for corner in [[0.0, 0.0], [side, 0.0], [0.0, side], [side, side]] {
            let (found, expected) = (found.apply(corner), matrix(&to_picture).apply(corner));
            let off = (found[0] - expected[0]).hypot(found[1] - expected[1]);
            assert!(off < 1e-4, "{template} {side}: {found:?} {expected:?}");
        }
    }
}

#[test]
fn crops_agree() {
    #[derive(Deserialize)]
    struct Case {
        picture: String,
        to_picture: Vec<f64>,
        side: usize,
        rgb: Vec<f32>,
    }
    for Case { picture, to_picture, side, rgb } in reference::<Vec<Case>>("crops") {
        let (shown, map) = (Picture::of(&picture), matrix(&to_picture));
        let found = match shown.depth {
            8 => Aligned::sample(&shown.frame::<u8>().view(), map, side),
            _ => Aligned::sample(&shown.frame::<u16>().view(), map, side),
        };
        agree(&format!("{picture} {to_picture:?}"), &found.rgb, &rgb, COLOUR);
    }
}

#[derive(Deserialize)]
struct PasteCase {
    picture: String,
    to_picture: Vec<f64>,
    side: usize,
    rgb: Vec<f32>,
    mask: Vec<f32>,
    blend_ratio: f32,
    planes: [Vec<u16>; 3],
}

#[test]
fn pasted_faces_agree() {
    fn check<S: Sample>(case: &PasteCase, shown: &Picture, tolerance: f32) {
        let mut frame = shown.frame::<S>();
        let before = frame.clone();
        let new = Aligned { side: case.side, to_picture: matrix(&case.to_picture), rgb: case.rgb.clone() };
        paste(&mut frame.view_mut(), &new, &case.mask, case.blend_ratio);
        for (index, (plane, expected)) in frame.planes().into_iter().zip(&case.planes).enumerate() {
            let numbers = |plane: PlaneRef<'_, S>| plane.data.iter().map(|&s| s.into()).collect::<Vec<f32>>();
            let expected: Vec<f32> = expected.iter().map(|&sample| f32::from(sample)).collect();
            agree(&format!("{} plane {index}", case.picture), &numbers(plane), &expected, tolerance);
            // What the reference leaves alone is left alone here.
            for ((after, before), expected) in numbers(plane).iter().zip(numbers(before.planes()[index])).zip(expected)
            {
                assert!(before != expected || (after - before).abs() <= tolerance, "{}", case.picture);
            }
        }
    }
    for case in reference::<Vec<PasteCase>>("pastes") {
        let shown = Picture::of(&case.picture);
        match shown.depth {
            8 => check::<u8>(&case, &shown, 1.0),
            _ => check::<u16>(&case, &shown, FLOAT * 65_535.0),
        }
    }
}

#[test]
fn boxes_agree() {
    #[derive(Deserialize)]
    struct Case {
        side: usize,
        blur: f32,
        padding: [f32; 4],
        mask: Vec<f32>,
    }
    for Case { side, blur, padding, mask } in reference::<Vec<Case>>("boxes") {
        agree(&format!("box {side} {blur} {padding:?}"), &mask::box_mask(side, blur, padding), &mask, FLOAT);
    }
}

#[test]
fn occlusions_agree() {
    #[derive(Deserialize)]
    struct Case {
        side: usize,
        values: Vec<f32>,
        mask: Vec<f32>,
    }
    #[derive(Deserialize)]
    struct Sampled {
        small: Vec<f32>,
        mask: Vec<f32>,
    }
    #[derive(Deserialize)]
    struct Cases {
        whole: Vec<Case>,
        sampled: Sampled,
    }
    let Cases { whole, sampled } = reference("occlusion");
    for Case { side, values, mask } in whole {
        agree(&format!("occlusion {side}"), &mask::occlusion(&values, side), &mask, FLOAT);
    }
    let large = mask::occlusion(&mask::resize(&sampled.small, 16, 256), 256);
    let found: Vec<f32> = large.chunks(256).step_by(16).flat_map(|row| row.iter().step_by(16)).copied().collect();
    agree("occlusion 256", &found, &sampled.mask, FLOAT);
}

#[test]
fn regions_agree() {
    #[derive(Deserialize)]
    struct Case {
        side: usize,
        wanted: Vec<String>,
        mask: Vec<f32>,
    }
    #[derive(Deserialize)]
    struct Cases {
        boxes: Vec<[usize; 5]>,
        cases: Vec<Case>,
    }
    let Cases { boxes, cases } = reference("regions");
    let mut classes = vec![0u8; CLASSES_SIDE * CLASSES_SIDE];
    for [class, left, top, right, bottom] in boxes {
        for row in classes.chunks_mut(CLASSES_SIDE).take(bottom).skip(top) {
            row[left..right].fill(class as u8);
        }
    }
    for Case { side, wanted, mask } in cases {
        let is_wanted = |region: &Region| wanted.contains(&format!("{region:?}").to_lowercase());
        let chosen: Vec<Region> = Region::ALL.into_iter().filter(is_wanted).collect();
        assert_eq!(chosen.len(), wanted.len(), "{wanted:?}");
        agree(&format!("regions {wanted:?}"), &mask::regions(&classes, &chosen, side), &mask, FLOAT);
    }
}

#[test]
fn hulls_agree() {
    #[derive(Deserialize)]
    struct Case {
        side: usize,
        points: Vec<f32>,
        feather: f32,
        mask: Vec<f32>,
    }
    for Case { side, points, feather, mask } in reference::<Vec<Case>>("hulls") {
        agree("hull", &mask::hull_mask(side, points.as_chunks().0, feather), &mask, FLOAT);
    }
}

#[test]
fn sizes_agree() {
    #[derive(Deserialize)]
    struct Case {
        to: usize,
        mask: Vec<f32>,
    }
    #[derive(Deserialize)]
    struct Cases {
        from: usize,
        mask: Vec<f32>,
        cases: Vec<Case>,
    }
    let Cases { from, mask, cases } = reference("resize");
    for case in cases {
        agree(&format!("{from} to {}", case.to), &mask::resize(&mask, from, case.to), &case.mask, FLOAT);
    }
}

#[derive(Deserialize)]
struct Colours {
    colours: Vec<f32>,
    labs: Vec<f32>,
    side: usize,
    new: Vec<f32>,
    target: Vec<f32>,
    mask: Vec<f32>,
    matched: Vec<f32>,
    matched_half: Vec<f32>,
    relit: Vec<f32>,
}

#[test]
fn colours_agree() {
    let case: Colours = reference("colour");
    let (lab, colours) = (Lab::get(), case.colours.as_chunks::<3>().0);
    let labs: Vec<f32> = colours.iter().flat_map(|&rgb| lab.of(rgb)).collect();
    agree("Lab", &labs, &case.labs, 100.0 * FLOAT);
    let back: Vec<f32> = colours.iter().flat_map(|&rgb| lab.rgb(lab.of(rgb))).collect();
    agree("Lab and back", &back, &case.colours, COLOUR);

    let crop = |rgb: &[f32]| Aligned {
        side: case.side,
        to_picture: matrix(&[1.0, 0.0, 0.0, 0.0, 1.0, 0.0]),
        rgb: rgb.to_vec(),
    };
    let target = crop(&case.target);
    let changed = |change: &dyn Fn(&mut Aligned)| {
        let mut new = crop(&case.new);
        change(&mut new);
        new.rgb
    };
    let matched = |strength: f32| changed(&|new| colour::match_lab(new, &target, &case.mask, strength));
    agree("matched", &matched(1.0), &case.matched, COLOUR);
    agree("matched by half", &matched(0.5), &case.matched_half, COLOUR);
    assert_eq!(matched(0.0), case.new);
    let relit = |strength: f32| changed(&|new| colour::relight(new, &target, &case.mask, strength));
    agree("relit", &relit(1.0), &case.relit, COLOUR);
    agree("not relit", &relit(0.0), &case.new, COLOUR);
}

#[test]
fn embeddings_agree() {
    #[derive(Deserialize)]
    struct Case {
        embedding: Vec<f32>,
        emap: Vec<f32>,
        source: Vec<f32>,
    }
    let Case { embedding, emap, source } = reference("projection");
    agree("source", &project(&embedding, &emap), &source, FLOAT);
    assert_eq!(project(&[0.0; 24], &emap), [0.0; 24]);
}

#[test]
fn sub_images_are_the_same() {
    #[derive(Deserialize)]
    struct Case {
        side: usize,
        n: usize,
        rgb: Vec<f32>,
        images: Vec<Vec<f32>>,
    }
    for Case { side, n, rgb, images } in reference::<Vec<Case>>("boost") {
        assert_eq!(boost::split(&rgb, side, n), images, "{side} {n}");
        assert_eq!(boost::join(&images, side, n), rgb, "{side} {n}");
    }
}
