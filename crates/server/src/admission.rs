//! Which requests are worked on at once, by what they cost.

use std::time::Duration;

use hyper::Method;
use hyper::http::request::Parts;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::timeout;

/// Instances of `/healthz` that no other request can take, and as many of
/// `/readyz`, which may have to wait for a database that does not answer.
pub(crate) const PROBES: u32 = 2;

/// Requests that may wait, for each that is worked on: more than are done in the time
/// that they wait.
const QUEUE: u32 = 16;

/// The same for `/healthz`, which is done in a millisecond, and which others may ask
/// for as well.
const HEALTHZ_QUEUE: u32 = 1024;

/// The budgets of a server. They are apart so that those who guess passwords, which
/// anybody may and which costs most, take nothing from those who are logged in, and
/// nobody takes from those who ask whether the server lives.
pub(crate) struct Budgets {
    healthz: Budget,
    readyz: Budget,
    hashes: Budget,
    others: Budget,
}

impl Budgets {
    pub(crate) fn new(others: u32, hashes: u32) -> Self {
        Self {
            healthz: Budget::new("healthz", PROBES, HEALTHZ_QUEUE),
            readyz: Budget::new("readyz", PROBES, PROBES * QUEUE),
            hashes: Budget::new("hashes", hashes, hashes * QUEUE),
            others: Budget::new("others", others, others * QUEUE),
        }
    }

    pub(crate) fn all(&self) -> [&Budget; 4] {
        [&self.healthz, &self.readyz, &self.hashes, &self.others]
    }

    /// The budget that a request is worked on from. `hashes` has the routes that
    /// hash a password; one that is missing here would count among the others.
    pub(crate) fn of(&self, request: &Parts) -> &Budget {
        match (&request.method, request.uri.path()) {
            (&Method::GET | &Method::HEAD, "/healthz") => &self.healthz,
            (&Method::GET | &Method::HEAD, "/readyz") => &self.readyz,
            (&Method::POST, "/login" | "/admin/users") => &self.hashes,
            (&Method::PUT, path) if path.ends_with("/password") => &self.hashes,
            _ => &self.others,
        }
    }
}

/// Requests of one kind: those that are worked on, and a queue of those that are
/// about to be.
pub(crate) struct Budget {
    /// What the metrics call it.
    pub(crate) name: &'static str,
    turns: Places,
    queue: Places,
}

/// Why a request has no turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoTurn {
    /// Too many wait already.
    QueueFull,
    /// None was free in time.
    NotInTime,
}

impl Budget {
    fn new(name: &'static str, turns: u32, queue: u32) -> Self {
        Self { name, turns: Places::new(turns as usize), queue: Places::new(queue as usize) }
    }

    /// A turn, after a wait of at most `wait`.
    pub(crate) async fn turn(&self, wait: Duration) -> Result<SemaphorePermit<'_>, NoTurn> {
        if let Ok(turn) = self.turns.free.try_acquire() {
            return Ok(turn);
        }
        let _place = self.queue.free.try_acquire().map_err(|_| NoTurn::QueueFull)?;
        match timeout(wait, self.turns.free.acquire()).await {
            Ok(Ok(turn)) => Ok(turn),
            Ok(Err(_)) | Err(_) => Err(NoTurn::NotInTime),
        }
    }

    /// Requests that are worked on, and how many may be.
    pub(crate) fn in_use(&self) -> (usize, usize) {
        (self.turns.taken(), self.turns.all)
    }

    /// Requests that wait for a turn.
    pub(crate) fn waiting(&self) -> usize {
        self.queue.taken()
    }
}

/// Places, and how many of them are free.
struct Places {
    all: usize,
    free: Semaphore,
}

impl Places {
    fn new(all: usize) -> Self {
        Self { all, free: Semaphore::new(all) }
    }

    fn taken(&self) -> usize {
        self.all - self.free.available_permits()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(method: &str, target: &str) -> Parts {
        hyper::Request::builder()
            .method(method)
            .uri(target)
            .body(())
            .expect("a head")
            .into_parts()
            .0
    }

    #[test]
    fn each_request_has_the_budget_of_its_kind() {
        let budgets = Budgets::new(1, 1);
        for (method, target, budget) in [
            ("GET", "/healthz", &budgets.healthz),
            ("HEAD", "/healthz?a", &budgets.healthz),
            ("GET", "/readyz", &budgets.readyz),
            ("POST", "/healthz", &budgets.others),
            ("GET", "//healthz", &budgets.others),
            ("POST", "/login", &budgets.hashes),
            ("POST", "http://a/login?b", &budgets.hashes),
            ("POST", "/admin/users", &budgets.hashes),
            ("GET", "/admin/users", &budgets.others),
            ("PUT", "/me/password", &budgets.hashes),
            ("PUT", "/admin/users/a1B2c3/password", &budgets.hashes),
            ("GET", "/me", &budgets.others),
            ("POST", "/introspect", &budgets.others),
        ] {
            assert!(std::ptr::eq(budgets.of(&head(method, target)), budget), "{method} {target}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn turns_are_waited_for_but_not_for_long_and_not_by_everybody() {
        let wait = Duration::from_secs(1);
        let budget = Budget::new("others", 1, 3);
        assert_eq!((budget.in_use(), budget.waiting()), ((0, 1), 0));
        let first = budget.turn(wait).await.expect("free");
        let second = budget.turn(wait).await.expect_err("it waited, and nobody was done");
        assert_eq!(second, NoTurn::NotInTime);

        let waiting = futures::future::join_all((0..3).map(|_| budget.turn(wait)));
        let one_too_many = async {
            let started = tokio::time::Instant::now();
            assert_eq!((budget.in_use(), budget.waiting()), ((1, 1), 3));
            assert_eq!(budget.turn(wait).await.expect_err("none"), NoTurn::QueueFull);
            assert_eq!(started.elapsed(), Duration::ZERO, "it had no place in the queue");
            drop(first);
        };
        let (turns, ()) = tokio::join!(waiting, one_too_many);
        // The first in the queue held on to its turn, so nobody else got one.
        let got: Vec<bool> = turns.iter().map(Result::is_ok).collect();
        assert_eq!(got, [true, false, false]);
    }
}
