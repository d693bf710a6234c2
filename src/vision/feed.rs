//! Fills a network's picture input as its card says: order of channels and dimensions, mean, scale.

use super::card::{Card, Colour, Dimension, Layout, Picture};
use super::error::VisionError;

/// A square picture input and its buffer.
pub struct Feed {
    layout: Layout,
    side: usize,
    /// For each channel of the input: which of red, green and blue, its mean, its factor.
    channels: [(usize, f32, f32); 3],
    input: Vec<f32>,
}

impl Feed {
    /// Of input `index` of the card, which is filled as `picture` says.
    ///
    /// # Errors
    /// [`VisionError::Card`] if the input is no square picture of a fixed side, 8 to 4096 pixels.
    pub fn of(card: &Card, picture: &Picture, index: usize) -> Result<Self, VisionError> {
        let spec = card.inputs.get(index);
        let sizes: Option<Vec<Option<usize>>> = spec.map(|spec| spec.shape.iter().map(Dimension::fixed).collect());
        let side = match (sizes.as_deref(), picture.layout) {
            (Some(&[_, Some(3), Some(rows), Some(columns)]), Layout::Nchw) if rows == columns => Some(rows),
            (Some(&[_, Some(rows), Some(columns), Some(3)]), Layout::Nhwc) if rows == columns => Some(rows),
            _ => None,
        };
        let side = side.filter(|side| (8..=4096).contains(side)).ok_or_else(|| {
            let found = spec.map_or("missing".to_owned(), |spec| spec.to_string());
            card.refuse(format!(
                "input {index} is {found} (expected a square picture of three channels, as its layout says)"
            ))
        })?;
        let order = match picture.colour {
            Colour::Rgb => [0, 1, 2],
            Colour::Bgr => [2, 1, 0],
        };
        let scale = picture.scale.each();
        let channels = [0, 1, 2].map(|channel| (order[channel], picture.mean[channel], scale[channel]));
        Ok(Self { layout: picture.layout, side, channels, input: Vec::new() })
    }

    /// Pixels along each side.
    pub fn side(&self) -> usize {
        self.side
    }

    /// The input for some pictures of this side, each planes of red, green and blue, 0..=255.
    pub fn pictures(&mut self, pictures: &[&[f32]]) -> ([usize; 4], &[f32]) {
        self.fill(pictures);
        (self.shape(pictures.len()), &self.input)
    }

    /// The shape of the input for so many pictures.
    pub fn shape(&self, count: usize) -> [usize; 4] {
        match self.layout {
            Layout::Nchw => [count, 3, self.side, self.side],
            Layout::Nhwc => [count, self.side, self.side, 3],
        }
    }

    fn fill(&mut self, pictures: &[&[f32]]) {
        let pixels = self.side * self.side;
        self.input.resize(pictures.len() * 3 * pixels, 0.0);
        for (input, rgb) in self.input.chunks_exact_mut(3 * pixels).zip(pictures) {
            for (channel, (from, mean, scale)) in self.channels.into_iter().enumerate() {
                let values = rgb[from * pixels..][..pixels].iter().map(|value| (value - mean) * scale);
                match self.layout {
                    Layout::Nchw => {
                        input[channel * pixels..][..pixels].iter_mut().zip(values).for_each(|(to, value)| *to = value);
                    }
                    Layout::Nhwc => {
                        input[channel..].iter_mut().step_by(3).zip(values).for_each(|(to, value)| *to = value);
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vision::catalog::Catalog;

    #[test]
    fn inputs_are_filled_as_cards_say() {
        let catalog = Catalog::builtin().unwrap();
        let feed = |id: &str, index: usize| {
            let card = catalog.card(id).unwrap();
            Feed::of(card, card.picture().unwrap(), index)
        };
        // Each pixel's red is its number, green that and 1000, blue that and 2000.
        let picture = |side: usize| -> Vec<f32> {
            (0..3).flat_map(|channel| (0..side * side).map(move |pixel| (pixel + 1000 * channel) as f32)).collect()
        };
        let mut nsfw = feed("open_nsfw", 0).unwrap();
        let (shape, input) = nsfw.pictures(&[&picture(224)]);
        assert_eq!(shape, [1, 224, 224, 3]);
        assert_eq!(input[3..6], [2001.0 - 104.0, 1001.0 - 117.0, 1.0 - 123.0]);
        let mut bisenet = feed("bisenet_resnet_34", 0).unwrap();
        let two = [picture(512), picture(512)];
        let (shape, input) = bisenet.pictures(&[&two[0], &two[1]]);
        assert_eq!(shape, [2, 3, 512, 512]);
        let expected = (1005.0 / 255.0 - 0.456) / 0.224;
        assert!((input[3 * 512 * 512 + 512 * 512 + 5] - expected).abs() < 1e-4, "{}", input[512 * 512 + 5]);
        let error = feed("inswapper_128", 0).err().unwrap().to_string();
        assert!(error.contains("input 0 is f32[1, 512] (expected a square picture"), "{error}");
    }
}
