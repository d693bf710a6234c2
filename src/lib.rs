#![doc = include_str!("ARCHITECTURE.md")]

// How it is started: on one machine, or role by role.
pub mod cli;
pub mod config;
pub mod local;

// What crosses a process.
pub mod contract;

// The way of a job, in the order in which it meets them.
pub mod ingest;

pub mod plan;

pub mod worker;

pub mod seal;

pub mod assemble;

pub mod credentials;

pub mod audit;

pub mod gc;

// What is done to pixels.
pub mod frame;
pub mod marks;
pub mod media;
pub mod photo;
pub mod vision;

// What carries records and objects.
pub mod attempts;
pub mod broker;
pub mod dead_letters;
pub mod site;
pub mod store;
pub mod toolchain;

// What everything uses.
pub mod calendar;
pub mod crash;
pub mod error;
pub mod json;
pub mod retry;
pub mod shutdown;
pub mod telemetry;
