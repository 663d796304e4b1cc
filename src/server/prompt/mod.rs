//! What a prompt is: its arguments, its handler, the messages the handler returns.

mod definition;
mod result;

pub use definition::{Prompt, PromptArgument};
pub use result::{GetPromptResult, IntoPromptResult, PromptMessage};
