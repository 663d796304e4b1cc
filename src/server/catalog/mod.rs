//! The current tools, resources and prompts of a server. They are registered before it serves and
//! may change while it does.
//!
//! 1. All of them are one value ([`store::Store`]), replaced as a whole. A call looks up its
//!    handler once, under a lock that is released before the handler runs.
//! 2. Each list has the order of registration. Its pages stay correct while it changes: a cursor
//!    names the number of the last item, not its position.
//! 3. Every change is announced to every mount, after it is made.

mod entries;
mod handle;
mod store;

pub use handle::Catalog;

pub(crate) use entries::{Entries, Item, Rendered};
pub(crate) use store::{Edit, Found, Op, Store, Tables};
