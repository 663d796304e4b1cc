//! The libFuzzer entry point of the fuzz target `streams`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| mcp_http_fuzz::streams(data));
