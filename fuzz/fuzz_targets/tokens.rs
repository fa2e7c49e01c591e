//! Tokens of sessions and of service accounts.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &str| edd_cloud_auth::fuzz::token(input));
