//! What a server offers at this moment: registered before it serves, changed while it does.
//!
//! 1. What is offered is one value ([`store::Store`]), replaced as a whole; a call looks up its
//!    handler once, under a lock that is gone before the handler runs.
//! 2. Each list has the order of registration, and is read in pages that stay right while it
//!    changes: a cursor names the last item's number, not its place.
//! 3. Every change is announced to every mount, after it is made.

mod entries;
mod handle;
mod store;

pub use handle::Catalog;

pub(crate) use entries::{Entries, Item, Rendered};
pub(crate) use store::{Edit, Found, Op, Store, Tables};
