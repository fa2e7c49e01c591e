//! JSON bodies of every route that reads one.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| edd_cloud_auth::fuzz::body(input));
