#![doc = include_str!("ARCHITECTURE.md")]

pub mod contract;
pub mod error;
pub mod frame;
pub mod plan;
