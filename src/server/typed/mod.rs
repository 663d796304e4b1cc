//! The typed server: its builder, its description, and how it answers each method.

mod builder;
mod caching;
mod describe;
mod dispatch;
mod extending;
#[cfg(test)]
mod fake;
mod hints;
mod policy;
mod scopes;
mod skills;
#[cfg(test)]
mod tests;

pub use builder::McpServer;
pub use describe::DEFAULT_PAGE_SIZE;
pub use policy::ScopePolicy;
