//! Benchmark of one `tools/call` of an echo tool, in process, from the request to the last byte of
//! the response. Compares a session of this crate with minimal axum routes for the same response.

mod support;

use criterion::{Criterion, criterion_group, criterion_main};
use mcp_http::ResponseMode;

use support::{Client, echo_call, floor, service};

/// A session id in the form this crate generates.
const KNOWN: &str = "6f1c2f54-9d7b-4c39-8a7e-0d6b1f1f2a3b";

fn echo(criterion: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    for (name, message) in [("echo", "hello".to_owned()), ("echo of 16 KiB", "x".repeat(16 << 10))] {
        let call = echo_call(&message);
        let mut clients = [
            ("floor, JSON", Client::new(floor::json())),
            ("floor, JSON, session", Client::new(floor::session(KNOWN))),
            ("floor, SSE", Client::new(floor::sse())),
            ("mcp-http, JSON", Client::new(service(ResponseMode::Auto))),
            ("mcp-http, SSE", Client::new(service(ResponseMode::Sse))),
        ];
        let mut group = criterion.benchmark_group(name);
        for (name, client) in &mut clients {
            if name.starts_with("mcp-http") {
                runtime.block_on(client.open());
            } else {
                client.pretend(KNOWN);
            }
            group.bench_function(*name, |bencher| bencher.iter(|| runtime.block_on(client.call(&call))));
        }
        group.finish();
    }
}

criterion_group!(benches, echo);
criterion_main!(benches);
