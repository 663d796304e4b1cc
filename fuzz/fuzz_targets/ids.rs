//! The libFuzzer entry point of the fuzz target `ids`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| mcp_http_fuzz::ids(data));
