//! How many more wrong passwords there may be: what the SQL function
//! `login_attempt` says of a try.

use serde::Deserialize;

use crate::http::Response;

/// Wrong passwords for one name from one network before the next try has to wait.
const ATTEMPTS: u32 = 5;

/// How long a wrong password counts, in seconds.
const WINDOW_SECONDS: u32 = 3600;

/// What is left of the tries for one name from one network.
#[derive(Debug, Clone, Copy, Deserialize)]
pub(crate) struct Quota {
    /// Tries that may still be wrong.
    pub(crate) remaining: u32,
    /// When there is another one, in seconds; 0 while there are some left.
    pub(crate) retry_after: u32,
}

impl Quota {
    /// Adds the headers that tell (draft-ietf-httpapi-ratelimit-headers-10).
    pub(crate) fn describe(self, response: &mut Response) {
        response.header("ratelimit-policy", format!("\"login\";q={ATTEMPTS};w={WINDOW_SECONDS}"));
        let Self { remaining, retry_after } = self;
        response.header("ratelimit", format!("\"login\";r={remaining};t={retry_after}"));
    }
}
