//! Heads that turn away.

use image::{Rgb, RgbImage};

use crate::frame::{Color, Frame, Matrix};
use crate::vision::{Face, Mesh, testing};

use super::super::canonical::Points;
use super::super::plane::{Lattice, Plane};
use super::super::warp::{Sampler, Visible, draw, visible_triangles};
use super::{changes, detect_photo, face_of, other_portrait, swapped, swapper, turn_of};

const GROUND: Rgb<u8> = Rgb([40, 60, 150]);

/// A mesh turned about the vertical axis through its nose.
pub fn turn_mesh(points: &Points, degrees: f32) -> Points {
    let (sin, cos) = degrees.to_radians().sin_cos();
    let [nose_x, _, nose_z] = points[1];
    points.map(|[x, y, z]| {
        let (dx, dz) = (x - nose_x, z - nose_z);
        [nose_x + cos * dx + sin * dz, y, nose_z - sin * dx + cos * dz]
    })
}

/// The face of `photo`, twice as large, alone before a blue wall and turned; its true mesh.
pub fn turned_photo(photo: &RgbImage, points: &Points, degrees: f32) -> (RgbImage, Points) {
    let large = image::imageops::resize(photo, 1024, 1024, image::imageops::FilterType::CatmullRom);
    let points = points.map(|point| point.map(|value| value * 1024.0 / photo.width() as f32));
    let turned = turn_mesh(&points, degrees);
    let planes = [0, 1, 2].map(|channel| {
        let data = large.pixels().map(|pixel| f32::from(pixel.0[channel])).collect();
        Plane { width: 1024, height: 1024, data }
    });
    let samplers = planes.each_ref().map(|plane| Sampler::new(plane).unwrap());
    let mut order = Vec::new();
    visible_triangles(&turned, &mut order);
    let lattice = Lattice { origin: [0.0; 2], step: [1.0; 2], width: 1024, height: 1024 };
    let places = points.map(|[x, y, _]| [x, y]);
    let mut out = RgbImage::from_pixel(1024, 1024, GROUND);
    let mut line = Vec::new();
    draw(&lattice, Visible { points: &turned, triangles: &order }, &places, |span| {
        line.resize(span.count, 0.0);
        for (channel, sampler) in samplers.iter().enumerate() {
            sampler.line(span.values, span.steps, &mut line);
            for (x, value) in line.iter().enumerate() {
                out.get_pixel_mut((span.first + x) as u32, span.row as u32).0[channel] = *value as u8;
            }
        }
    });
    (out, turned)
}

fn frame_of(photo: &RgbImage) -> Frame {
    let (width, height) = (photo.width() as usize, photo.height() as usize);
    testing::draw(width, height, Color::sdr(Matrix::Bt601, true), |x, y| {
        photo.get_pixel(x as u32, y as u32).0.map(f32::from)
    })
}

#[test]
fn the_far_cheek_is_not_painted_over_the_wall() {
    let mut nets = testing::nets();
    let points = detect_photo(&mut nets, testing::portrait());
    for degrees in [-35.0, 35.0] {
        let (photo, _) = turned_photo(testing::portrait(), &points, degrees);
        let frame = frame_of(&photo);
        let face = face_of(&mut nets, &frame);
        let target = (frame, face);
        let after = swapped(&mut swapper(&other_portrait()), &target, 1.0);
        let mut changed = [0, 0];
        for (x, y, before, after) in changes(&target.0, &after, 0) {
            let is_face = *photo.get_pixel(x as u32, y as u32) != GROUND;
            changed[usize::from(is_face)] += usize::from(before.abs_diff(after) > 4);
        }
        let [wall, face] = changed;
        assert!(face > 4_000 && wall * 30 < face, "{degrees}: {wall} samples of the wall, {face} of the face");
    }
}

#[test]
fn a_profile_stays_as_it_is() {
    let mut nets = testing::nets();
    let points = detect_photo(&mut nets, testing::portrait());
    let changed = |degrees| {
        let (photo, points) = turned_photo(testing::portrait(), &points, degrees);
        let (frame, mesh) = (frame_of(&photo), Mesh(points));
        let turn = turn_of(&frame, &mesh);
        let target = (frame, Face { mesh, presence: 1.0, turn });
        changes(&target.0, &swapped(&mut swapper(&other_portrait()), &target, 1.0), 0).len()
    };
    for degrees in [-70.0, 70.0] {
        assert_eq!(changed(degrees), 0, "{degrees}");
    }
    assert!(changed(20.0) > 10_000);
}
