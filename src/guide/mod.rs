//! Pages to read, in addition to the documentation of each item.

#[doc = include_str!("advisories.md")]
pub mod advisories {}

#[doc = include_str!("authorization.md")]
pub mod authorization {}

#[doc = include_str!("durable.md")]
pub mod durable {}

#[doc = include_str!("extensions.md")]
pub mod extensions {}

#[doc = include_str!("migrating.md")]
pub mod migrating {}

#[doc = include_str!("mounting.md")]
pub mod mounting {}

#[doc = include_str!("nodes.md")]
pub mod nodes {}

#[doc = include_str!("refusals.md")]
pub mod refusals {}

#[doc = include_str!("settings.md")]
pub mod settings {}
