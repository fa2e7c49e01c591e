//! `If-Match`, `X-Forwarded-For` and the other headers that are looked into.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| edd_cloud_auth::fuzz::headers(input));
