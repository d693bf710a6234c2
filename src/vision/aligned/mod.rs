//! A face brought to a network's template, and back.

pub mod template;
