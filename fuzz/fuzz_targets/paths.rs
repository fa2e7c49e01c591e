//! Paths, as the router sees them.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &str| edd_cloud_auth::fuzz::path(input));
