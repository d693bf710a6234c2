//! Several photos of one person.

use crate::frame::Frame;
use crate::vision::testing;

use super::super::{MeshSwapper, Portrait};
use super::profile::turned_photo;
use super::{changes, detect_photo, eyes, swapped, target};

const OPEN: [f32; 2] = [0.25; 2];

/// Photos of one face, turned by so many degrees each, with the meshes that they truly have.
fn album(degrees: &[f32]) -> MeshSwapper {
    let photo = image::imageops::flip_horizontal(testing::portrait());
    let points = detect_photo(&mut testing::nets(), &photo);
    let portrait = |degrees: &f32| {
        let (photo, points) = turned_photo(&photo, &points, *degrees);
        Portrait::cut_out(&photo, &points, OPEN).unwrap()
    };
    MeshSwapper::new(degrees.iter().map(portrait).collect(), eyes()).unwrap()
}

/// Root mean square of what luma differs by, in the face.
fn apart(a: &Frame, b: &Frame, face: usize) -> f64 {
    let squares = changes(a, b, 0).iter().map(|c| f64::from(c.2.abs_diff(c.3)).powi(2)).sum::<f64>();
    (squares / face as f64).sqrt()
}

#[test]
fn a_left_and_a_right_photo_lend_what_a_frontal_one_would() {
    let target = target(0);
    let swap = |degrees: &[f32]| swapped(&mut album(degrees), &target, 1.0);
    let frontal = swap(&[0.0]);
    let face = changes(&target.0, &frontal, 0).len();
    let [left, right, both] =
        [&[-40.0][..], &[40.0], &[-40.0, 40.0]].map(|degrees| apart(&frontal, &swap(degrees), face));
    assert!(both < 0.75 * left.min(right), "both {both}, left {left}, right {right}");
}

#[test]
fn photos_give_the_same_face_in_any_order_and_again() {
    let target = target(3);
    let mut album_of_two = album(&[-30.0, 10.0]);
    let first = swapped(&mut album_of_two, &target, 1.0);
    assert_eq!(swapped(&mut album_of_two, &target, 1.0), first);
    assert_eq!(swapped(&mut album(&[10.0, -30.0]), &target, 1.0), first);
}
