//! Go durations: what is read is positive, and is read the same when it is written
//! another way.

#![no_main]

use edd_auth_rules::go_duration::parse;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Ok(duration) = parse(text) {
        assert!(!duration.is_zero());
        assert_eq!(parse(&format!("{}ns", duration.as_nanos())), Ok(duration));
    }
});
