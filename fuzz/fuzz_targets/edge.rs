//! The libFuzzer entry point of the fuzz target `edge`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| mcp_http_fuzz::edge(data));
