//! A face brought to a network's template and back: everything around a neural swapper, mask or restorer but the network.
//!
//! A frame's face meets [`template`] (where it has to lie), [`crop`] (its pixels there; [`boost`] takes a larger crop apart for
//! a small network) and, after the network, [`colour`] and [`texture`] (the new face is made to look as the target did),
//! [`mask`] (where it may show) and [`paste`] (back into the planes of the frame). All of it depends on the frame, the
//! face and the frame's number only.
//!
//! Crops are square and planar: red, green, blue, 0..=255 each, `side²` values per plane, as networks with NCHW inputs take
//! them. Masks are planes of `side²` values, 0..=1. Pixel centres lie at whole numbers, as in OpenCV's `warpAffine`.
//! What is computed here agrees with `models/reference.py` (NumPy and OpenCV), whose results the tests compare with.

mod blur;
pub mod boost;
pub mod colour;
pub mod crop;
mod embedding;
pub(in crate::vision) mod grid;
mod lab;
pub mod mask;
pub mod paste;
mod resize;
pub mod template;
pub mod texture;

#[cfg(test)]
mod tests;

pub use crop::Aligned;
pub use embedding::project;
pub use paste::{mix, paste};
pub use template::Template;
