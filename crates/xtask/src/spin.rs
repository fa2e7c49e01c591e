//! `cargo xtask spin`: the end-to-end tests with the component in Spin itself.

use anyhow::Context;

use crate::{install, test};

/// Tests of what `auth-server` has in front of the component: bounds, and an HTTP server
/// with answers of its own to what is hardly HTTP.
const SERVERS_OWN: [&str; 5] = [
    "mutations::",
    "protocol::a_body_that_does_not_arrive_is_408",
    "protocol::requests_that_are_not_http_are_refused_without_a_crash",
    "readiness::a_statement_that_takes_too_long_is_503_and_does_not_go_on",
    "readiness::past_its_bound_it_refuses_and_says_when_to_come_back",
];

/// Runs the end-to-end tests with `spin up` in place of the host of `auth-server`; those
/// with these names, or all.
///
/// # Errors
///
/// When there is no `spin` in the PATH, something else can't be installed, built or
/// started, or a test fails.
pub fn run(names: &[String]) -> anyhow::Result<()> {
    let spin = install::find("spin").context("spin is missing; see https://spinframework.dev")?;
    let skipped = SERVERS_OWN.into_iter().flat_map(|name| ["--skip", name]);
    let mut args = ["--test", "e2e", "--"].map(str::to_owned).to_vec();
    args.extend_from_slice(names);
    args.extend(skipped.map(str::to_owned));
    test::run(&args, Some(&spin))
}
