//! How long to wait before trying again.

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};

/// First wait.
const SHORTEST: Duration = Duration::from_millis(100);

/// Longest wait, before jitter: an outage of hours must not make the recovery
/// take more than seconds.
const LONGEST: Duration = Duration::from_secs(5);

/// Waits that double up to a cap, with jitter, so that many clients of a server
/// that came back do not come back together. Never gives up.
pub struct Backoff {
    waits: ExponentialBackoff,
    said: Option<String>,
}

impl Default for Backoff {
    fn default() -> Self {
        let waits = ExponentialBuilder::new()
            .with_min_delay(SHORTEST)
            .with_max_delay(LONGEST)
            .without_max_times()
            .with_jitter()
            .build();
        Self { waits, said: None }
    }
}

impl Backoff {
    /// The next wait.
    pub fn next_delay(&mut self) -> Duration {
        self.waits.next().unwrap_or(LONGEST)
    }

    /// The wait after so many attempts in a row, for callers that count themselves.
    #[must_use]
    pub fn delay_after(attempts: usize) -> Duration {
        Self::default().waits.nth(attempts).unwrap_or(LONGEST)
    }

    /// Whether a failure has another reason than the one before it: then it belongs
    /// into the log. An outage of hours would fill it otherwise.
    pub fn is_news(&mut self, reason: &str) -> bool {
        let is_news = self.said.as_deref() != Some(reason);
        self.said = Some(reason.to_owned());
        is_news
    }

    /// After a success: the next wait is the first one again, and the next failure
    /// is news.
    pub fn reset(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_the_cap_and_go_on() {
        let mut backoff = Backoff::default();
        let waits: Vec<Duration> = (0..100).map(|_| backoff.next_delay()).collect();
        assert!(waits[0] >= SHORTEST && waits[0] < 3 * SHORTEST, "{:?}", waits[0]);
        assert!(waits[50..].iter().all(|wait| *wait >= LONGEST && *wait <= 2 * LONGEST));
        assert!(Backoff::delay_after(0) < 3 * SHORTEST);
        assert!(Backoff::delay_after(1_000) >= LONGEST);
        backoff.reset();
        assert!(backoff.next_delay() < 3 * SHORTEST);
    }

    #[test]
    fn a_reason_is_news_once() {
        let mut backoff = Backoff::default();
        let news = ["a", "a", "b", "b", "a"].map(|reason| backoff.is_news(reason));
        assert_eq!(news, [true, false, true, false, true]);
        backoff.reset();
        assert!(backoff.is_news("a"));
    }
}
