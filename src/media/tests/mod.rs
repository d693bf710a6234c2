//! Whole clips through the whole path: probe, slice, decode, lossless encode, join; the result must be the source.
//!
//! Clips are made with the `ffmpeg` command; `ffmpeg`, `ffprobe` and `exiftool` judge the result.

mod avif;
mod clips;
mod damage;
mod harness;
mod marks;
mod pictures;
mod refusals;
mod round_trip;
