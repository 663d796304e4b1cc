//! A server that offers everything: run it to try a client, or the protocol's conformance suite.

mod fixtures;

fn main() {
    println!("{:?}", fixtures::server());
}
