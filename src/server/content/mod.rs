//! Content for clients: blocks of content, contents of resources, and their annotations.

mod block;
mod facts;
mod resource;

pub use block::{Content, ResourceLink};
pub(crate) use facts::Shown;
pub use facts::{Annotations, Icon, Role, Theme};
pub use resource::{IntoResourceContents, ResourceContents};
