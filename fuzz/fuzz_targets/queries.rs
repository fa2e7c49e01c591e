//! Query strings, and the form of `POST /introspect`.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| edd_cloud_auth::fuzz::query(input));
