//! Resources: with a fixed URI or a URI template, and how template URIs are parsed.

mod fixed;
mod pattern;
mod template;

pub use fixed::Resource;
pub use template::ResourceTemplate;

pub(crate) use fixed::Contents;
pub(crate) use pattern::{Pattern, decoded};
