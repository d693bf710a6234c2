//! The built-in `mesh` swapper: a portrait's face, warped over the target's mesh and relit with the target's own light.
//!
//! No generator network: the portrait lends detail (brows, nose, folds, lips, skin), the target keeps what makes it move
//! and sit in its picture (light, skin tone, eyes, inner mouth, head shape, hair, whatever is before the face).
//! [`MeshSwapper::swap`] reads top to bottom as the method. All lengths are shares of the face width |p454 − p234|.
//!
//! Everything but the final blend runs on two coarse grids aligned to the picture (see [`plane::Region`]); luma changes at
//! its own resolution, chroma at its own. A frame's result depends on the frame, its mesh, the portrait and the
//! reference only, never on the frames before.

mod album;
mod alpha;
mod analysis;
mod bake;
mod beyond;
mod blend;
mod blur;
pub(super) mod canonical;
mod eyes;
mod features;
mod fine;
mod hair;
mod levels;
mod light;
mod occlusion;
mod plane;
pub(super) mod polygon;
mod portrait;
mod profile;
mod warp;

#[cfg(test)]
mod tests;

pub use eyes::EyeNet;
pub use occlusion::{Reference, ReferenceBuilder};
pub use portrait::Portrait;

use crate::frame::{ChromaSite, YuvMut, YuvRef};
use crate::vision::Face;
use crate::vision::error::VisionError;

use album::Album;
use alpha::{Opacity, vertex_alpha};
use analysis::{Analysis, Tools};
use beyond::beyond;
use blend::{ChromaBlend, LumaBlend, NewFace};
use fine::FineBand;
use occlusion::Observer;
use plane::{Interpolation, Lattice, Plane, Region};
use warp::{Sampler, Visible, draw, visible_triangles};

/// The portrait's chroma detail is scaled with the target's saturation within these bounds: black brows on a grey face
/// would turn blue.
const TINT_GAIN: (f32, f32) = (0.25, 1.25);

/// Puts one person's face onto the faces of a clip. Each lane has its own; buffers are reused from frame to frame.
pub struct MeshSwapper {
    album: Album,
    eyes: EyeNet,
    tools: Tools,
    observer: Observer,
    face: Analysis,
    triangles: Vec<u16>,
    opacity: Opacity,
    light_to_mask: Interpolation,
    light: Plane,
    weight: Plane,
    detail: Plane,
    fine: FineBand,
    luma: LumaBlend,
    tint: [Plane; 2],
    chroma: ChromaBlend,
}

impl MeshSwapper {
    /// A swapper that lends from one person's `portraits`: each place of the face from the best one that shows it.
    ///
    /// # Errors
    /// [`VisionError::NoFace`] without portraits.
    pub fn new(portraits: Vec<Portrait>, eyes: EyeNet) -> Result<Self, VisionError> {
        Ok(Self {
            album: Album::new(portraits)?,
            eyes,
            tools: Tools::default(),
            observer: Observer::default(),
            face: Analysis::default(),
            triangles: Vec::new(),
            opacity: Opacity::default(),
            light_to_mask: Interpolation::default(),
            light: Plane::default(),
            weight: Plane::default(),
            detail: Plane::default(),
            fine: FineBand::default(),
            luma: LumaBlend::default(),
            tint: Default::default(),
            chroma: ChromaBlend::default(),
        })
    }

    /// Swaps `face` in place, and tells whether the new one shows at all; samples outside the blending mask stay bit-exact. `blend_ratio` 1.0 is the new face in full,
    /// 0.0 leaves the frame untouched, as does a mesh that is not finite, tiny or outside of the picture.
    ///
    /// `reference` is the usual look of this face in its clip; without it nothing before the face is left out.
    ///
    /// # Errors
    /// [`VisionError::Network`] from the eye network.
    pub fn swap(
        &mut self,
        frame: &mut YuvMut<'_>,
        face: &Face,
        blend_ratio: f32,
        reference: Option<&Reference>,
    ) -> Result<bool, VisionError> {
        let points = &face.mesh.0;
        let picture = frame.as_ref();
        let is_untouched = blend_ratio.is_nan() || blend_ratio <= 0.0;
        let region = Region::around(points, picture.width(), picture.height());
        let (Some(region), false) = (region, is_untouched) else { return Ok(false) };
        let visible = profile::fade(face.turn);
        if visible <= 0.0 {
            return Ok(false);
        }
        let mask_grid = region.mask_grid();
        let on_mask = mask_grid.locate_mesh(points);

        // What the portrait lends at this size, and how far the target's eyes are open beside the portrait's.
        let openness = self.eyes.openness(&picture, points)?;
        let lent_eyes = self.album.eyes();
        let eyelids = [0, 1].map(|eye| eyes::keep_lids(openness[eye], lent_eyes[eye]));
        let chroma_shift = picture.shift.0.min(picture.shift.1);
        let lent = self.album.baked(region.face_width, picture.color.matrix, chroma_shift, &mut self.tools);

        // Where the face may show: towards the camera in both pictures, and not behind a hand.
        self.face.sample(&picture, &region);
        let mut covered = reference.map(|usual| usual.covered(&self.face.log, &on_mask, &mut self.observer));
        let eyelids = covered.as_ref().map_or(eyelids, |covered| eyes::before_a_hand(eyelids, covered));
        let mut blend_ratio = blend_ratio.min(1.0) * visible;
        if let Some(beyond) = beyond(&self.face, &on_mask, face.turn) {
            blend_ratio *= beyond.visible;
            let covered = covered.get_or_insert([0.0; 468]);
            covered.iter_mut().zip(beyond.vertices).for_each(|(covered, beyond)| *covered = covered.max(beyond));
        }
        let alpha = vertex_alpha(points, &lent.facing, covered.as_ref());
        visible_triangles(points, &mut self.triangles);
        let mesh = Visible { points, triangles: &self.triangles };
        self.opacity.draw(&mask_grid, mesh, &alpha, lent, &mut self.face.hull);

        // The target's light, without its features and hair.
        self.face.measure(&region, &on_mask, &mut self.tools);
        self.light_to_mask.prepare(&region.light_grid(), &mask_grid);
        self.light_to_mask.apply(self.face.light.relit(), &mut self.light);
        self.light_to_mask.apply(&self.face.light.weight, &mut self.weight);

        // The portrait's detail, as sharp as the target is.
        warp_detail(&region.pixels(), mesh, lent, &mut self.detail);
        self.fine.match_sharpness(
            fine::Input {
                samples: &picture,
                region: &region,
                face: &self.face,
                opacity: &self.opacity,
                weight: &self.weight,
                detail: &self.detail,
                light: &self.light,
            },
            &mut self.tools.blur,
        );

        // The mask: soft at its rim; hair, open eyes, closed lids and the mouth's inside stay the target's.
        let keep = alpha::Kept { face: &self.face, points: &on_mask, eyelids, blend_ratio };
        self.opacity.finish(&keep, region.face_width / region.cell as f32, &mut self.tools);
        let Some(rows) = self.opacity.rows() else { return Ok(false) };

        let tint_lattice = chroma_lattice(&picture, &region);
        warp_tint(&tint_lattice, mesh, lent, &mut self.tint);
        let new_face = NewFace {
            region: &region,
            opacity: &self.opacity.alpha,
            rows: &rows,
            fine: &self.fine,
            detail: &self.detail,
            chroma: &self.face.light.chroma,
            tint: &self.tint,
            tint_lattice: &tint_lattice,
            tint_gain: [0, 1]
                .map(|c| (self.face.light.saturation[c] / lent.saturation[c]).clamp(TINT_GAIN.0, TINT_GAIN.1)),
        };
        self.luma.apply(frame, &new_face);
        self.chroma.apply(frame, &new_face);
        Ok(true)
    }
}

/// The chroma samples of the region's window.
fn chroma_lattice(picture: &YuvRef<'_>, region: &Region) -> Lattice {
    let shift = [picture.shift.0, picture.shift.1];
    let step = shift.map(|s| (1 << s) as f32);
    let centre = step.map(|s| (s - 1.0) / 2.0);
    let across = match picture.site {
        ChromaSite::Left => 0.0,
        ChromaSite::Center => centre[0],
    };
    let (columns, rows) = picture.planes.size(1);
    let window = region.window;
    let (first_column, first_row) = (window.x >> shift[0], window.y >> shift[1]);
    Lattice {
        origin: [window.x as f32 + across, window.y as f32 + centre[1]],
        step,
        width: (window.x + window.width).div_ceil(1 << shift[0]).min(columns) - first_column,
        height: (window.y + window.height).div_ceil(1 << shift[1]).min(rows) - first_row,
    }
}

/// The portrait's luma detail over the target's mesh.
fn warp_detail(pixels: &Lattice, mesh: Visible<'_>, lent: &bake::Baked, out: &mut Plane) {
    out.reset(pixels.width, pixels.height);
    let Some(sampler) = Sampler::new(&lent.detail) else { return };
    let places = lent.points.map(|[x, y, _]| lent.detail_lattice.locate([x, y]));
    draw(pixels, mesh, &places, |span| {
        sampler.line(span.values, span.steps, &mut out.row_mut(span.row)[span.first..][..span.count]);
    });
}

/// The portrait's chroma detail over the target's mesh.
fn warp_tint(lattice: &Lattice, mesh: Visible<'_>, lent: &bake::Baked, out: &mut [Plane; 2]) {
    out.iter_mut().for_each(|plane| plane.reset(lattice.width, lattice.height));
    let [Some(cb), Some(cr)] = [0, 1].map(|c| Sampler::new(&lent.chroma[c])) else { return };
    let places = lent.points.map(|[x, y, _]| lent.chroma_lattice.locate([x, y]));
    draw(lattice, mesh, &places, |span| {
        for (sampler, plane) in [&cb, &cr].into_iter().zip(out.iter_mut()) {
            sampler.line(span.values, span.steps, &mut plane.row_mut(span.row)[span.first..][..span.count]);
        }
    });
}
