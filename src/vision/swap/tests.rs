//! The swapper as a whole, on made-up pictures with a real face (see [`crate::vision::testing`]).

mod album;
mod deep;
mod profile;
mod turned;

use image::{Rgb, RgbImage};

use crate::frame::{ChromaSite, Color, Frame, Matrix, Pixels, PlaneMut, PlaneRef, PlanesMut, Turn, YuvMut};
use crate::vision::catalog::Catalog;
use crate::vision::error::VisionError;
use crate::vision::find::{TrackNets, detect_and_mesh};
use crate::vision::model::Execution;
use crate::vision::{Face, Mesh, testing};

use super::canonical::{Points, canonical};
use super::{EyeNet, MeshSwapper, Portrait, Reference, ReferenceBuilder};
use crate::vision::turn::TurnNet;

fn eyes() -> EyeNet {
    testing::init();
    EyeNet::load(&Catalog::builtin().unwrap(), &Execution::default()).unwrap()
}

/// How far a head is turned, as the tracker looks.
fn turn_of(frame: &impl Pixels, mesh: &Mesh) -> f32 {
    testing::init();
    let mut net = TurnNet::load(&Catalog::builtin().unwrap(), &Execution::default()).unwrap();
    net.degrees(&frame.view(), mesh).unwrap()
}

/// A portrait unlike the made-up clip's face: mirrored, and of another colour.
fn other_portrait() -> RgbImage {
    let mut photo = image::imageops::flip_horizontal(testing::portrait());
    for pixel in photo.pixels_mut() {
        let [r, g, b] = pixel.0;
        *pixel = Rgb([r, g / 2 + b / 4, b / 2 + 40]);
    }
    photo
}

fn swapper(photo: &RgbImage) -> MeshSwapper {
    let mut eyes = eyes();
    let portrait = Portrait::analyse(photo, &mut testing::nets(), &mut eyes, None).unwrap();
    MeshSwapper::new(vec![portrait], eyes).unwrap()
}

fn target(index: u64) -> (Frame, Face) {
    target_of(index, 640, 360)
}

fn target_of(index: u64, width: usize, height: usize) -> (Frame, Face) {
    let frame = testing::moving_portrait(index, width, height);
    let face = face_of(&mut testing::nets(), &frame);
    (frame, face)
}

fn face_of(nets: &mut TrackNets, frame: &impl Pixels) -> Face {
    let face = detect_and_mesh(nets, &frame.view()).unwrap().swap_remove(0).face;
    Face { turn: turn_of(frame, &face.mesh), ..face }
}

fn swapped(swapper: &mut MeshSwapper, (frame, face): &(Frame, Face), blend_ratio: f32) -> Frame {
    let mut frame = frame.clone();
    swapper.swap(&mut frame.view_mut(), face, blend_ratio, None).unwrap();
    frame
}

/// Samples of plane `plane` that differ: (x, y, before, after).
fn changes(before: &Frame, after: &Frame, plane: usize) -> Vec<(usize, usize, u8, u8)> {
    let (a, b) = (before.planes()[plane], after.planes()[plane]);
    let mut changed = Vec::new();
    for y in 0..a.height {
        let pairs = a.row(y).iter().zip(b.row(y)).enumerate();
        changed.extend(pairs.filter(|(_, (a, b))| a != b).map(|(x, (a, b))| (x, y, *a, *b)));
    }
    changed
}

#[test]
fn only_the_face_changes_and_it_does() {
    let mut swapper = swapper(&other_portrait());
    let target = target(0);
    let after = swapped(&mut swapper, &target, 1.0);
    let oval: Vec<[f32; 2]> = super::features::OVAL.iter().map(|&i| [0, 1].map(|k| target.1.mesh.0[i][k])).collect();
    for plane in 0..3 {
        let scale = if plane == 0 { 1.0 } else { 2.0 };
        let changed = changes(&target.0, &after, plane);
        assert!(changed.len() as f32 * scale * scale > 3_000.0, "plane {plane}: {} changed", changed.len());
        for (x, y, ..) in changed {
            let depth = super::polygon::signed_distance(&oval, [x as f32 * scale, y as f32 * scale]);
            assert!(depth > -3.0, "plane {plane}: sample {x}, {y} lies {} pixels outside the face", -depth);
        }
    }
    let moved = changes(&target.0, &after, 0).iter().map(|c| u32::from(c.2.abs_diff(c.3))).max();
    assert!(moved > Some(10), "{moved:?}");
}

#[test]
fn blend_ratio_scales_the_change() {
    let mut swapper = swapper(&other_portrait());
    let target = target(3);
    assert_eq!(swapped(&mut swapper, &target, 0.0), target.0);
    assert_eq!(swapped(&mut swapper, &target, f32::NAN), target.0);
    let change =
        |frame: &Frame| -> u64 { changes(&target.0, frame, 0).iter().map(|c| u64::from(c.2.abs_diff(c.3))).sum() };
    let full = swapped(&mut swapper, &target, 1.0);
    let half = swapped(&mut swapper, &target, 0.5);
    let share = change(&half) as f64 / change(&full) as f64;
    assert!((0.4..0.6).contains(&share), "{share}");
    assert_eq!(swapped(&mut swapper, &target, 7.0), full);
}

#[test]
fn a_frame_is_swapped_alike_whatever_came_before() {
    let mut fresh = swapper(&other_portrait());
    let mut used = swapper(&other_portrait());
    let (small, large) = (target_of(5, 320, 180), target_of(9, 960, 540));
    let alone = swapped(&mut fresh, &small, 1.0);
    swapped(&mut used, &large, 1.0);
    swapped(&mut used, &target(1), 1.0);
    assert_eq!(swapped(&mut used, &small, 1.0), alone);
    assert_eq!(swapped(&mut used, &small, 1.0), alone, "and again");
}

#[test]
fn chroma_of_every_subsampling_is_changed_in_place() {
    let mut swapper = swapper(&other_portrait());
    let (frame, face) = target(0);
    let reference = swapped(&mut swapper, &(frame.clone(), face.clone()), 1.0);
    for (shift, site) in [
        ((0, 0), ChromaSite::Center),
        ((1, 0), ChromaSite::Left),
        ((1, 1), ChromaSite::Center),
        ((0, 1), ChromaSite::Center),
        ((2, 0), ChromaSite::Left),
        ((2, 2), ChromaSite::Left),
    ] {
        let mut picture = Planar::from_frame(&frame, shift, site);
        let before = picture.clone();
        swapper.swap(&mut picture.view_mut(), &face, 1.0, None).unwrap();
        assert!(picture.planes.iter().zip(&before.planes).all(|(a, b)| a != b), "{shift:?}");
        // The same luma, but for what chroma says about hair.
        let [luma, ..] = reference.planes();
        let (mut apart, mut count) = (0u32, 0u32);
        for (i, value) in picture.planes[0].iter().enumerate() {
            apart += u32::from(value.abs_diff(luma.row(i / luma.width)[i % luma.width]));
            count += 1;
        }
        assert!(f64::from(apart) / f64::from(count) < 0.05, "{shift:?}: {apart}");
    }
}

#[test]
fn a_fringe_is_never_lent() {
    // Green and dark strands over the forehead, from temple to temple, down to just above the brows.
    let mut photo = testing::portrait().clone();
    let mut nets = testing::nets();
    let face = detect_photo(&mut nets, &photo);
    let brow = [105, 334].map(|i| face[i][1]).into_iter().fold(f32::INFINITY, f32::min);
    let (top, bottom) = (face[10][1] - 30.0, brow - 4.0);
    let (left, right) = (face[127][0] - 25.0, face[356][0] + 25.0);
    for (x, y, pixel) in photo.enumerate_pixels_mut() {
        let is_fringe = (left..right).contains(&(x as f32)) && (top..bottom).contains(&(y as f32));
        if is_fringe {
            *pixel = if x / 3 % 2 == 0 { Rgb([20, 110, 30]) } else { Rgb([10, 40, 15]) };
        }
    }
    let target = target(0);
    let after = swapped(&mut swapper(&photo), &target, 1.0);
    let points = &target.1.mesh.0;
    let columns = points[103][0] as usize..points[332][0] as usize;
    let rows = points[151][1] as usize..points[9][1] as usize;
    // Mean difference of luma three pixels apart: strands would show as stripes.
    let stripes = |frame: &Frame| {
        let row = |y: usize| frame.planes()[0].row(y)[columns.clone()].to_vec();
        let differences: Vec<u32> = rows
            .clone()
            .flat_map(|y| row(y).windows(4).map(|w| u32::from(w[0].abs_diff(w[3]))).collect::<Vec<_>>())
            .collect();
        f64::from(differences.iter().sum::<u32>()) / differences.len() as f64
    };
    // Green lies at low Cb and low Cr.
    let greenest = |frame: &Frame| {
        let [_, cb, cr] = frame.planes();
        let sum = |y: usize, x: usize| u32::from(cb.row(y / 2)[x / 2]) + u32::from(cr.row(y / 2)[x / 2]);
        rows.clone().flat_map(|y| columns.clone().map(move |x| (y, x))).map(|(y, x)| sum(y, x)).min()
    };
    let plain = swapped(&mut swapper(testing::portrait()), &target, 1.0);
    assert!(stripes(&after) < 1.2 * stripes(&plain) + 0.5, "{} {}", stripes(&after), stripes(&plain));
    assert!(
        greenest(&after).unwrap() + 4 >= greenest(&plain).unwrap(),
        "{:?} {:?}",
        greenest(&after),
        greenest(&plain)
    );
}

#[test]
fn portraits_without_a_face_or_with_several_say_so() {
    let (mut nets, mut eyes) = (testing::nets(), eyes());
    let mut analyse = |photo: &RgbImage, face| Portrait::analyse(photo, &mut nets, &mut eyes, face).map(drop);
    let empty = RgbImage::from_pixel(200, 150, Rgb([90, 90, 90]));
    assert!(matches!(analyse(&empty, None), Err(VisionError::NoFace)));
    assert!(matches!(analyse(&RgbImage::new(1, 1), Some(0)), Err(VisionError::NoFace)));

    let one = testing::portrait();
    let mut two = RgbImage::new(2 * one.width(), one.height());
    image::imageops::replace(&mut two, one, 0, 0);
    image::imageops::replace(&mut two, one, i64::from(one.width()), 0);
    match analyse(&two, None) {
        Err(VisionError::SeveralFaces { faces }) => {
            assert_eq!(faces.len(), 2);
            assert!(faces[0][2] < one.width() as f32 && faces[1][0] > one.width() as f32, "{faces:?}");
        }
        other => panic!("{other:?}"),
    }
    assert!(analyse(&two, Some(0)).is_ok() && analyse(&two, Some(1)).is_ok());
    let error = analyse(&two, Some(2)).unwrap_err();
    assert!(matches!(error, VisionError::NoSuchFace { chosen: 2, count: 2 }), "{error}");
}

#[test]
fn large_photos_keep_their_detail_up_to_a_bound() {
    let (mut nets, mut eyes) = (testing::nets(), eyes());
    let photo = image::imageops::resize(testing::portrait(), 3072, 3072, image::imageops::FilterType::Triangle);
    let portrait = Portrait::analyse(&photo, &mut nets, &mut eyes, None).unwrap();
    let small = Portrait::analyse(testing::portrait(), &mut nets, &mut eyes, None).unwrap();
    let ratio = portrait.face_width() / small.face_width();
    assert!((ratio - 6.0).abs() < 0.4, "{ratio}");
}

#[test]
fn unusable_meshes_leave_the_frame_alone_and_odd_ones_do_not_panic() {
    let mut swapper = swapper(&other_portrait());
    let (frame, face) = target_of(2, 161, 91);
    let mut state = 1u32;
    let mut random = move || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / (1 << 24) as f32
    };
    let spread: Vec<Points> = (0..40)
        .map(|i| {
            let (scale, jitter) = (0.2 + 4.0 * random(), if i % 2 == 0 { 0.0 } else { 60.0 * random() });
            let centre = [300.0 * (random() - 0.25), 200.0 * (random() - 0.25)];
            std::array::from_fn(|p| {
                let [x, y, z] = canonical().points[p];
                let mut at = |v: f32, c: f32| v * 6.0 * scale + c + jitter * (random() - 0.5);
                [at(x, centre[0]), at(y, centre[1]), at(z, 0.0)]
            })
        })
        .collect();
    for points in &spread {
        swapped(&mut swapper, &(frame.clone(), Face { mesh: Mesh(*points), presence: 1.0, turn: 0.0 }), 1.0);
    }
    let unusable: [Points; 5] = [
        [[f32::NAN; 3]; 468],
        [[f32::INFINITY; 3]; 468],
        [[40.0, 40.0, 0.0]; 468],
        face.mesh.0.map(|[x, y, z]| [x + 5_000.0, y, z]),
        face.mesh.0.map(|[x, y, z]| [x * 0.01, y * 0.01, z * 0.01]),
    ];
    for points in unusable {
        let target = (frame.clone(), Face { mesh: Mesh(points), presence: 1.0, turn: 0.0 });
        assert_eq!(swapped(&mut swapper, &target, 1.0), frame);
    }
    for (width, height) in [(1, 1), (2, 1), (3, 5), (17, 2), (63, 65)] {
        let frame = Frame::grey(width, height, testing::CLIP_COLOR);
        swapped(&mut swapper, &(frame, face.clone()), 1.0);
    }
}

#[test]
fn a_face_partly_outside_the_picture_is_swapped_to_the_border() {
    let mut swapper = swapper(&other_portrait());
    let (frame, face) = target(0);
    let cut = face.mesh.0[1][0] as usize & !1; // the nose on the left border
    let shifted = face.mesh.0.map(|[x, y, z]| [x - cut as f32, y, z]);
    let mut half = Planar::from_column(&frame, cut);
    let before = half.clone();
    swapper.swap(&mut half.view_mut(), &Face { mesh: Mesh(shifted), presence: 1.0, turn: 0.0 }, 1.0, None).unwrap();
    let nose = face.mesh.0[1][1] as usize;
    let rows = nose - 10..nose + 10;
    let changed = rows.filter(|y| half.planes[0][y * half.width] != before.planes[0][y * half.width]).count();
    assert!(changed > 5, "{changed} of 20 rows change at the border");
}

#[test]
fn what_is_before_the_face_stays() {
    let mut swapper = swapper(&other_portrait());
    let mut builder = ReferenceBuilder::default();
    let mut nets = testing::nets();
    for index in 0..12 {
        let frame = testing::moving_portrait(4 * index, 640, 360);
        let face = face_of(&mut nets, &frame);
        builder.add(frame.view(), &face.mesh);
    }
    let reference = builder.finish().unwrap();
    let stored = reference.to_bytes();
    assert!(Reference::from_bytes(&stored).is_some());
    for bad in [&stored[..stored.len() - 1], &stored[1..], &[]] {
        assert!(Reference::from_bytes(bad).is_none());
    }

    // Stripes enter from the chin and cover the mouth; the mesh is that of the free face.
    let (frame, face) = target(2);
    let (mouth, chin) = (face.mesh.0[0], face.mesh.0[152]);
    let mut covered = frame.clone();
    let [mut luma, ..] = covered.planes_mut();
    for y in mouth[1] as usize..(chin[1] as usize + 12).min(360) {
        for x in (mouth[0] - 40.0) as usize..(mouth[0] + 40.0) as usize {
            luma.row_mut(y)[x] = if (x / 5 + y / 9) % 2 == 0 { 60 } else { 190 };
        }
    }
    let mut change = |reference: Option<&Reference>| {
        let mut after = covered.clone();
        swapper_swap(&mut swapper, &mut after, &face, reference);
        let inside = |c: &&(usize, usize, u8, u8)| {
            (c.0 as f32 - mouth[0]).abs() < 20.0 && c.1 as f32 > mouth[1] + 8.0 && (c.1 as f32) < chin[1] - 8.0
        };
        let all = changes(&covered, &after, 0);
        let forehead = all.iter().filter(|c| (c.1 as f32) < face.mesh.0[6][1]).count();
        let covered: u64 = all.iter().filter(inside).map(|c| u64::from(c.2.abs_diff(c.3))).sum();
        (covered, forehead)
    };
    let (without, forehead_without) = change(None);
    let (with, forehead_with) = change(Some(&reference));
    assert!(with * 10 < without, "under the stripes: {with} with a reference, {without} without");
    assert!(forehead_with * 10 > forehead_without * 8, "the forehead is free: {forehead_with} of {forehead_without}");
    assert!(ReferenceBuilder::default().finish().is_none());
}

fn swapper_swap(swapper: &mut MeshSwapper, frame: &mut Frame, face: &Face, reference: Option<&Reference>) {
    swapper.swap(&mut frame.view_mut(), face, 1.0, reference).unwrap();
}

#[test]
fn of_several_photos_the_frontal_one_is_best() {
    let (mut nets, mut eyes) = (testing::nets(), eyes());
    let frontal = Portrait::analyse(testing::portrait(), &mut nets, &mut eyes, None).unwrap();
    let (merit, width) = (frontal.merit(), frontal.face_width());
    let narrow = image::imageops::resize(testing::portrait(), 256, 256, image::imageops::FilterType::Triangle);
    let small = Portrait::analyse(&narrow, &mut nets, &mut eyes, None).unwrap();
    assert!(small.merit() < merit, "{} {merit}", small.merit());
    let turned = frontal.turned(0.6);
    assert!(turned.merit() < merit, "{} {merit}", turned.merit());
    let swapper = MeshSwapper::new(vec![small, turned, frontal], eyes).unwrap();
    assert_eq!((swapper.album.best().merit(), swapper.album.best().face_width()), (merit, width));
    assert!(matches!(MeshSwapper::new(Vec::new(), super::tests::eyes()), Err(VisionError::NoFace)));
}

fn detect_photo(nets: &mut TrackNets, photo: &RgbImage) -> Points {
    let color = Color::sdr(Matrix::Bt601, true);
    let frame = testing::draw(photo.width() as usize, photo.height() as usize, color, |x, y| {
        photo.get_pixel(x as u32, y as u32).0.map(f32::from)
    });
    face_of(nets, &frame).mesh.0
}

/// A picture of any subsampling.
#[derive(Clone)]
struct Planar {
    planes: [Vec<u8>; 3],
    width: usize,
    height: usize,
    shift: (u8, u8),
    site: ChromaSite,
    color: Color,
}

impl Planar {
    /// `frame` with its chroma repeated or kept.
    fn from_frame(frame: &Frame, shift: (u8, u8), site: ChromaSite) -> Self {
        let view = frame.view();
        let (width, height) = (view.width(), view.height());
        let planes = [0, 1, 2].map(|plane| {
            let (sx, sy) = if plane == 0 { (0, 0) } else { shift };
            let (columns, rows) = (width.div_ceil(1 << sx), height.div_ceil(1 << sy));
            let place = |at: usize, s: u8| if plane == 0 { at } else { (at << s) >> 1 };
            let source = frame.planes()[plane];
            (0..rows).flat_map(|y| (0..columns).map(move |x| source.row(place(y, sy))[place(x, sx)])).collect()
        });
        Self { planes, width, height, shift, site, color: view.color }
    }

    /// The columns from `left` (even) on.
    fn from_column(frame: &Frame, left: usize) -> Self {
        let view = frame.view();
        let cut =
            |plane: PlaneRef<'_>, left: usize| (0..plane.height).flat_map(|y| plane.row(y)[left..].to_vec()).collect();
        let [y, u, v] = frame.planes();
        Self {
            planes: [cut(y, left), cut(u, left / 2), cut(v, left / 2)],
            width: view.width() - left,
            height: view.height(),
            shift: view.shift,
            site: view.site,
            color: view.color,
        }
    }

    fn view_mut(&mut self) -> YuvMut<'_> {
        let (width, height, shift) = (self.width, self.height, self.shift);
        let chroma = (width.div_ceil(1 << shift.0), height.div_ceil(1 << shift.1));
        let plane = |data, (width, height)| PlaneMut { data, stride: width, width, height };
        let [y, u, v] = &mut self.planes;
        let planes = PlanesMut::U8([plane(y, (width, height)), plane(u, chroma), plane(v, chroma)]);
        YuvMut { planes, shift, color: self.color, site: self.site, turn: Turn::None }
    }
}
