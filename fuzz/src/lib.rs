//! Fuzz targets of the crate: each is a function of bytes that panics if a promise is broken.
//!
//! They use only the public API of a service in this process, on paused time. `fuzz_targets/` wraps
//! each one for libFuzzer (`cargo +nightly fuzz run edge --features libfuzzer`). `tests/smoke.rs`
//! runs each over its corpus and over random bytes on a stable compiler.

mod app;
mod batch;
mod edge;
mod ids;
mod modern;
mod streams;

pub use batch::batch;
pub use edge::edge;
pub use ids::ids;
pub use modern::modern;
pub use streams::streams;

use arbitrary::{Arbitrary, Unstructured};

/// Builds a case from bytes and runs it on paused time.
fn run<'a, T: Arbitrary<'a>, F: Future<Output = ()>>(data: &'a [u8], case: impl FnOnce(T) -> F) {
    let Ok(input) = T::arbitrary_take_rest(Unstructured::new(data)) else { return };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.expect("a runtime").block_on(case(input));
}
