//! Prompts: their arguments, their handler, and the messages it returns.

mod definition;
mod result;

pub use definition::{Prompt, PromptArgument};
pub use result::{GetPromptResult, IntoPromptResult, PromptMessage};
