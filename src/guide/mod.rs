//! Pages to read, beside the documentation of what they speak of.

#[doc = include_str!("migrating.md")]
pub mod migrating {}

#[doc = include_str!("settings.md")]
pub mod settings {}
