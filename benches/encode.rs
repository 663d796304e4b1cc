//! Benchmark of axum's `Sse` against this crate's body: one event, and a burst of 51.
//!
//! `mcp-http` is the whole path of a call through the service: checks, session, handler, log, body.
//! `axum Sse` answers with the same events, recorded before, and does nothing else: no checks, no
//! handler, no JSON. Its time is therefore the cost of its encoder and body alone. One line is
//! missing: axum writes no empty `data:`, without which clients drop the id of a first event.

mod support;

use criterion::{Criterion, criterion_group, criterion_main};
use mcp_http::ResponseMode;

use support::{Client, floor, progress_call, service};

fn encode(criterion: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    for (name, steps) in [("one event", 0), ("51 events", 50)] {
        let call = progress_call(steps);
        let mut ours = Client::new(service(ResponseMode::Sse));
        let recorded = runtime.block_on(async {
            ours.open().await;
            ours.text(&call).await
        });
        let mut theirs = Client::new(floor::replay(&recorded));
        let writable = recorded.replacen("data: \n\n", "\n", 1);
        assert_eq!(runtime.block_on(theirs.text(&call)), writable, "the events are the same");

        let mut group = criterion.benchmark_group(name);
        group.bench_function("mcp-http", |bencher| bencher.iter(|| runtime.block_on(ours.call(&call))));
        group.bench_function("axum Sse", |bencher| bencher.iter(|| runtime.block_on(theirs.call(&call))));
        group.finish();
    }
}

criterion_group!(benches, encode);
criterion_main!(benches);
