#![doc = include_str!("ARCHITECTURE.md")]

// In the order in which data meets them.
pub mod cli;
pub mod config;
pub mod local;

pub mod assemble;
pub mod contract;
pub mod ingest;
pub mod plan;
pub mod seal;
pub mod worker;

pub mod frame;
pub mod media;
pub mod photo;
pub mod vision;

pub mod broker;
pub mod site;
pub mod store;
pub mod toolchain;

pub mod error;
pub mod shutdown;
pub mod telemetry;
