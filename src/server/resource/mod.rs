//! What a resource is, one at a fixed URI or many by a template, and how the URI of a template is
//! taken apart.

mod fixed;
mod pattern;
mod template;

pub use fixed::Resource;
pub use template::ResourceTemplate;

pub(crate) use fixed::Contents;
pub(crate) use pattern::{Pattern, decoded};
