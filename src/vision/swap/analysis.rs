//! What a face's picture is made of: features, hair, light. The same for portrait and target.

use crate::frame::YuvRef;

use super::blur::Blur;
use super::canonical::Points;
use super::features::{Outlines, feature_mask};
use super::hair::{HairFinder, HairInput};
use super::levels::means;
use super::light::Light;
use super::plane::{Plane, Region};

/// Tools that hold buffers only.
#[derive(Default)]
pub struct Tools {
    pub blur: Blur,
    pub outlines: Outlines,
    hair: HairFinder,
    skin: Plane,
    light_skin: Plane,
    light_log: Plane,
    light_chroma: [Plane; 2],
}

/// One face, taken apart.
#[derive(Default)]
pub struct Analysis {
    /// Mean log luma, mask grid.
    pub log: Plane,
    /// Mean Cb and Cr, 0..255, mask grid.
    pub chroma: [Plane; 2],
    /// 1 where the face may be, mask grid. Filled by the caller.
    pub hull: Plane,
    /// 1 on brows, eyes, lips, nostrils; mask grid.
    pub features: Plane,
    /// 1 on hair before forehead and temples; mask grid.
    pub hair: Plane,
    pub has_hair: bool,
    /// Light grid.
    pub light: Light,
    /// The direction that is up where the picture is shown (see [`Turn::up`](crate::frame::Turn::up)).
    up: [f32; 2],
}

impl Analysis {
    /// Means of the samples over the mask grid.
    pub fn sample(&mut self, picture: &YuvRef<'_>, region: &Region) {
        self.up = picture.turn.up();
        means(picture, 0, region, region.cell, &mut self.log);
        for (channel, out) in [1, 2].into_iter().zip(&mut self.chroma) {
            means(picture, channel, region, region.cell, out);
        }
    }

    /// Features, hair and light; after [`Analysis::sample`], with `hull` filled. `points` in mask-grid coordinates.
    pub fn measure(&mut self, region: &Region, points: &Points, tools: &mut Tools) {
        let face_width = region.face_width / region.cell as f32;
        self.features.reset_like(&self.log);
        feature_mask(&mut tools.outlines, &mut tools.blur, points, face_width, &mut self.features);
        let [cb, cr] = &self.chroma;
        let input = HairInput {
            bands: [&self.log, cb, cr],
            features: &self.features,
            hull: &self.hull,
            points,
            face_width,
            up: self.up,
        };
        self.has_hair = tools.hair.find(&input, &mut tools.outlines, &mut tools.blur, &mut self.hair);

        let skin = &mut tools.skin;
        skin.reset_like(&self.log);
        let masks = self.hull.data.iter().zip(&self.features.data).zip(&self.hair.data);
        for (s, ((hull, feature), hair)) in skin.data.iter_mut().zip(masks) {
            *s = hull * (1.0 - feature) * (1.0 - hair);
        }
        let is_halved = region.light_cell > region.cell;
        let to_light =
            |plane: &Plane, out: &mut Plane| if is_halved { plane.halve_into(out) } else { out.copy_from(plane) };
        to_light(skin, &mut tools.light_skin);
        to_light(&self.log, &mut tools.light_log);
        let [light_cb, light_cr] = &mut tools.light_chroma;
        to_light(cb, light_cb);
        to_light(cr, light_cr);
        let width = region.face_width / region.light_cell as f32;
        self.light.measure(&tools.light_log, [light_cb, light_cr], &tools.light_skin, width, &mut tools.blur);
    }
}
