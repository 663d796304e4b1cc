//! The counting allocator: counts all allocations of all threads from the start of the process.

use std::alloc::System;
use std::io::BufRead;

use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Answers each line on stdin with the allocations and bytes so far.
pub(crate) fn answer_on_stdin() {
    std::thread::spawn(|| {
        for _ in std::io::stdin().lock().lines() {
            let stats = ALLOCATOR.stats();
            println!("{} {}", stats.allocations + stats.reallocations, stats.bytes_allocated);
        }
    });
}
