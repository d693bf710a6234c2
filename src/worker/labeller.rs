//! The label of a chunk, rendered once for its frames' size, and what a lane keeps of it from one chunk to the next.

use crate::contract::LabelSpec;
use crate::frame::Pixels;
use crate::frame::label::{Canvas, Stamp};
use crate::media::Decoded;

/// Draws labels.
#[derive(Default)]
pub struct Labeller {
    /// With what it says, and for which pictures.
    rendered: Option<(LabelSpec, Canvas, Stamp)>,
}

impl Labeller {
    /// Draws a label into a frame, which must be viewable. What is transparent becomes opaque under it.
    pub fn draw(&mut self, label: &LabelSpec, frame: &mut Decoded) {
        let view = frame.view();
        let canvas = Canvas {
            size: (view.width(), view.height()),
            turn: view.turn,
            mirrored: label.mirrored,
            aspect: frame.sample_aspect(),
        };
        // Where a label ends makes no difference to what it looks like.
        let whole = LabelSpec { until: None, ..label.clone() };
        let known = self.rendered.take().filter(|(known, of, _)| *known == whole && *of == canvas);
        let (_, _, stamp) = self.rendered.insert(known.unwrap_or_else(|| {
            let stamp = Stamp::new(&whole.wording(), &canvas);
            (whole, canvas, stamp)
        }));
        let mut opacity = frame.opacity(stamp.area());
        stamp.draw(&mut frame.view_mut(), opacity.as_deref());
        if let Some(opacity) = &mut opacity {
            stamp.make_opaque(opacity);
            frame.set_opacity(stamp.area(), opacity);
        }
    }
}
