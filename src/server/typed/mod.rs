//! The typed server: what it says of itself, what it offers, how it answers each method.

mod builder;
mod caching;
mod describe;
mod dispatch;
#[cfg(test)]
mod fake;
#[cfg(test)]
mod tests;

pub use builder::{DEFAULT_PAGE_SIZE, McpServer};
