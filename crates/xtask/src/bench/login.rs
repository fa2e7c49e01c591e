//! `cargo xtask bench login`: how many logins a second there are, next to requests
//! that need no hash.

use std::thread;
use std::time::{Duration, Instant};

use super::WRONG_PASSWORD;
use super::caller::Caller;
use crate::artifacts::Profile;
use crate::subject::{PASSWORD, Subject};

/// Measures and prints.
///
/// # Errors
///
/// When something fails to start, or is not answered as it should be.
pub fn run(profile: Profile, clients: u16, seconds: u64) -> anyhow::Result<()> {
    let service = Subject::start(profile, &[])?;
    service.create_users('c', clients.into())?;
    let callers = (0..clients)
        .map(|number| Caller::log_in(service.client(), 'c', number))
        .collect::<anyhow::Result<Vec<_>>>()?;
    let duration = Duration::from_secs(seconds);
    println!("{clients} clients, {seconds} seconds each");
    let logins = per_second(&callers, duration, |caller| caller.login(PASSWORD, 200))?;
    println!("  POST /login              {logins:9.1} a second");
    let print = |what: &str, rate: f64| {
        println!("  {what:<24} {rate:9.1} a second   {:.1} times as many", rate / logins);
    };
    print("GET /me", per_second(&callers, duration, Caller::me)?);
    for caller in &callers {
        caller.login(WRONG_PASSWORD, 401)?;
    }
    // Enough for the longest wait.
    let throttle = "update login_throttle set failures = 99 where key like 'pair %'";
    service.postgres.psql("auth", throttle)?;
    let throttled = |caller: &Caller| caller.login(PASSWORD, 429);
    print("POST /login, throttled", per_second(&callers, duration, throttled)?);
    Ok(())
}

/// How many requests a second all callers together get answered.
fn per_second(
    callers: &[Caller],
    duration: Duration,
    request: impl Fn(&Caller) -> anyhow::Result<()> + Sync,
) -> anyhow::Result<f64> {
    let started = Instant::now();
    let answered = thread::scope(|scope| {
        let call = |caller| {
            let mut answered = 0_u32;
            while started.elapsed() < duration {
                request(caller)?;
                answered += 1;
            }
            anyhow::Ok(answered)
        };
        let threads: Vec<_> =
            callers.iter().map(|caller| scope.spawn(move || call(caller))).collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
            .sum::<anyhow::Result<u32>>()
    })?;
    Ok(f64::from(answered) / started.elapsed().as_secs_f64())
}
