//! Clients that log in and out, make and change users and service accounts, and write
//! down what they were told.

mod api;
mod client;
mod own;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures::future::join_all;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::history::{History, Record};

/// How many there are.
const CLIENTS: usize = 6;

/// Keeps the records of all clients.
#[derive(Clone)]
pub(crate) struct Recorder {
    started: Instant,
    started_at: i64,
    records: Arc<Mutex<Vec<Record>>>,
}

impl Recorder {
    fn new() -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self {
            started: Instant::now(),
            started_at: i64::try_from(now.as_micros()).unwrap_or(i64::MAX),
            records: Arc::default(),
        }
    }

    /// How long ago the records began.
    fn now(&self) -> Duration {
        self.started.elapsed()
    }

    fn push(&self, record: Record) {
        self.records.lock().unwrap_or_else(PoisonError::into_inner).push(record);
    }

    fn history(&self) -> History {
        let records = self.records.lock().unwrap_or_else(PoisonError::into_inner).clone();
        History { started_at: self.started_at, records }
    }
}

/// Lets the clients work until they are told to stop. Half of them begin at the first
/// address, half at the second.
pub(crate) async fn run(addresses: Vec<String>, seed: u64, stop: CancellationToken) -> History {
    let recorder = Recorder::new();
    let make = |number: usize| {
        let api = api::Api::new(addresses.clone(), number, seed, recorder.clone());
        let seed = seed.wrapping_mul(1_000_003).wrapping_add(number as u64);
        client::Client::new(api, number, seed)
    };
    let mut first = make(0);
    let shared: Arc<[client::SharedUser]> = first.make_shared_users(&stop).await.into();
    let others = (1..CLIENTS).map(make);
    let work = std::iter::once(first).chain(others).map(|mut client| {
        let (shared, stop) = (shared.clone(), stop.clone());
        async move { client.work(&shared, &stop).await }
    });
    join_all(work).await;
    recorder.history()
}
