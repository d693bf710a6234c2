//! From a portrait to what it lends: detail without light, chroma without skin tone, and where it has anything to lend.

use crate::frame::YuvRef;

use super::analysis::{Analysis, Tools};
use super::canonical::{Points, canonical, facing, smoothstep};
use super::features::{BROWS, EYES, LIPS, MOUTH, OVAL};
use super::hair::away_from;
use super::levels::{log_line, means};
use super::plane::{Interpolation, Lattice, Plane, Region};

/// Share of the portrait's middle band that is lent; the target keeps the rest of its own.
pub const MIDDLE_SHARE: f32 = 0.9;
/// Fine and middle detail brighter than this is compressed (log luma): lamp glints, rim light.
const FINE_KNEE: f32 = 0.08;
const MIDDLE_KNEE: f32 = 0.06;
/// Skin chroma may wander by this much.
const CHROMA_LIMIT: f32 = 6.0;
/// Where luma rises above the coarse light by this much (log luma, from..to), no detail is lent at all.
const GLINT: (f32, f32) = (0.22, 0.40);

/// Planes of one portrait at one size.
pub struct Baked {
    /// Landmarks in the photo that was baked, pixels.
    pub points: Points,
    /// z of the vertex normals.
    pub facing: [f32; 468],
    /// Detail of log luma, to be added to the target's light.
    pub detail: Plane,
    pub detail_lattice: Lattice,
    /// Cb and Cr less their coarse field.
    pub chroma: [Plane; 2],
    pub chroma_lattice: Lattice,
    /// 0..1: what may be shown (not hair, not the mouth's opening).
    pub cover: Plane,
    pub cover_lattice: Lattice,
    /// Mean (Cb − 128, Cr − 128) of the skin, at least 2 from neutral.
    pub saturation: [f32; 2],
}

/// `chroma_shift`: log2 of the reduction of the chroma planes.
pub fn bake(photo: &YuvRef<'_>, points: &Points, chroma_shift: u8, face: &mut Analysis, tools: &mut Tools) -> Baked {
    let region = Region::around(points, photo.width(), photo.height())
        .unwrap_or_else(|| Region::whole(photo.width(), photo.height(), photo.width() as f32));
    let (pixels, mask_grid, light_grid) = (region.pixels(), region.mask_grid(), region.light_grid());
    let on_mask = mask_grid.locate_mesh(points);
    let width = region.face_width / region.cell as f32;

    face.sample(photo, &region);
    face.hull.reset_like(&face.log);
    tools.outlines.add(&mut face.hull, &on_mask, &OVAL);
    face.measure(&region, &on_mask, tools);

    let masks = Masks::draw(face, &light_grid, &mask_grid, &on_mask, width, tools);
    let mut to_pixels = Interpolation::default();
    let mut stretch = |plane: &Plane, from: &Lattice, to: &Lattice| {
        let mut out = Plane::default();
        to_pixels.prepare(from, to);
        to_pixels.apply(plane, &mut out);
        out
    };

    let low = stretch(&face.light.low, &light_grid, &pixels);
    let mid = stretch(&face.light.mid, &light_grid, &pixels);
    let skin = stretch(&masks.skin, &mask_grid, &pixels);
    let lent = stretch(&masks.lent, &mask_grid, &pixels);
    let mut detail = Plane::new(pixels.width, pixels.height);
    let mut logs = Vec::new();
    for y in 0..pixels.height {
        log_line(photo, region.window.y + y, region.window.x..region.window.x + pixels.width, &mut logs);
        for (x, value) in detail.row_mut(y).iter_mut().enumerate() {
            let log = logs[x];
            let (low, mid, skin) = (low.row(y)[x], mid.row(y)[x], skin.row(y)[x]);
            let soft = |band: f32, limit: f32| band + (knee(band, limit) - band) * skin;
            *value = (soft(log - mid, FINE_KNEE) + MIDDLE_SHARE * soft(mid - low, MIDDLE_KNEE)) * lent.row(y)[x];
        }
    }

    let chroma_cell = 1 << chroma_shift;
    let chroma_lattice = region.grid(chroma_cell);
    let skin = stretch(&masks.skin, &mask_grid, &chroma_lattice);
    let lent = stretch(&masks.lent, &mask_grid, &chroma_lattice);
    let chroma = [0, 1].map(|channel| {
        let mut plane = Plane::default();
        means(photo, channel + 1, &region, chroma_cell, &mut plane);
        let coarse = stretch(&face.light.chroma[channel], &light_grid, &chroma_lattice);
        let others = coarse.data.iter().zip(skin.data.iter().zip(&lent.data));
        for (value, (coarse, (skin, lent))) in plane.data.iter_mut().zip(others) {
            let difference = *value - coarse;
            let bounded = CHROMA_LIMIT * (difference / CHROMA_LIMIT).tanh();
            *value = (difference + (bounded - difference) * skin) * lent;
        }
        plane
    });

    let [cb, cr] = face.light.saturation;
    Baked {
        points: *points,
        facing: facing(points, &canonical().triangles),
        detail,
        detail_lattice: pixels,
        chroma,
        chroma_lattice,
        cover: masks.cover,
        cover_lattice: mask_grid,
        saturation: [cb.min(-2.0), cr.max(2.0)],
    }
}

/// Identity up to `limit`, then bounded by twice that.
fn knee(value: f32, limit: f32) -> f32 {
    if value > limit { limit + limit * ((value - limit) / limit).tanh() } else { value }
}

/// On the mask grid.
struct Masks {
    /// 1 off the features.
    skin: Plane,
    /// Share of the detail that is lent: not glints, not hair.
    lent: Plane,
    cover: Plane,
}

impl Masks {
    fn draw(
        face: &Analysis,
        light_grid: &Lattice,
        mask_grid: &Lattice,
        points: &Points,
        width: f32,
        tools: &mut Tools,
    ) -> Masks {
        let Tools { blur, outlines, .. } = tools;
        let mut skin = face.features.clone();
        blur.in_place(&mut skin, 0.01 * width);
        skin.data.iter_mut().for_each(|v| *v = 1.0 - *v);

        // Eyes and lips may glisten, brows may not.
        let mut glossy = Plane::new(skin.width, skin.height);
        EYES.iter().for_each(|ring| outlines.add(&mut glossy, points, ring));
        outlines.add(&mut glossy, points, &LIPS);
        blur.in_place(&mut glossy, 0.02 * width);

        let mut way = Interpolation::default();
        way.prepare(light_grid, mask_grid);
        let mut lent = Plane::default();
        way.apply(&face.light.low, &mut lent);
        lent.data.iter_mut().zip(&face.log.data).for_each(|(low, log)| *low = log - *low);
        blur.in_place(&mut lent, 0.006 * width);
        for ((glint, glossy), hull) in lent.data.iter_mut().zip(&glossy.data).zip(&face.hull.data) {
            let is_glossy = *glossy > 0.12;
            *glint = if is_glossy { 0.0 } else { smoothstep(GLINT.0, GLINT.1, *glint) * hull };
        }
        blur.in_place(&mut lent, 0.012 * width);
        lent.data.iter_mut().for_each(|glint| *glint = 1.0 - *glint);

        let mut cover = Plane::new(skin.width, skin.height);
        cover.data.fill(1.0);
        if face.has_hair {
            // Detail fades to nothing towards hair: the light field alone is smooth skin.
            let mut clean = Plane::default();
            away_from(&face.hair, 0.03 * width, &mut clean);
            blur.in_place(&mut clean, 0.01 * width);
            lent.data.iter_mut().zip(&clean.data).for_each(|(lent, clean)| *lent *= clean);

            away_from(&face.hair, 0.05 * width, &mut cover);
            blur.in_place(&mut cover, 0.012 * width);
            // The target's brows must be covered even under a fringe.
            let mut brows = Plane::new(skin.width, skin.height);
            BROWS.iter().for_each(|ring| outlines.add(&mut brows, points, ring));
            blur.in_place(&mut brows, 0.02 * width);
            cover.data.iter_mut().zip(&brows.data).for_each(|(c, brow)| *c = c.max((2.5 * brow).min(1.0)));
        }
        let mut mouth = Plane::new(skin.width, skin.height);
        outlines.add(&mut mouth, points, &MOUTH);
        blur.in_place(&mut mouth, 0.010 * width);
        cover.data.iter_mut().zip(&mouth.data).for_each(|(c, m)| *c *= 1.0 - (2.0 * m).min(1.0));
        Masks { skin, lent, cover }
    }
}
