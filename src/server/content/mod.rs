//! What tools, prompts and resources hand to a client: blocks of content, contents of resources,
//! and the facts about them.

mod block;
mod facts;
mod resource;

pub use block::{Content, ResourceLink};
pub(crate) use facts::Shown;
pub use facts::{Annotations, Icon, Role, Theme};
pub use resource::{IntoResourceContents, ResourceContents};
