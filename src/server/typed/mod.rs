//! The typed server: its builder, its description, and how it answers each method.

mod builder;
mod caching;
mod describe;
mod dispatch;
mod extending;
#[cfg(test)]
mod fake;
mod policy;
mod scopes;
#[cfg(test)]
mod tests;

pub use builder::{DEFAULT_PAGE_SIZE, McpServer};
pub use policy::ScopePolicy;
