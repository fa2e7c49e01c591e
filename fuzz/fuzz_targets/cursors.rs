//! Cursors of pages.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &str| edd_cloud_auth::fuzz::cursor(input));
