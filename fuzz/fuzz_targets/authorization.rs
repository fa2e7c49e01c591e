//! The header `Authorization`.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| edd_cloud_auth::fuzz::authorization(input));
