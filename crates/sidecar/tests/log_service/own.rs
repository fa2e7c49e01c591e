//! This process's own records: best effort, and never in the way.

use std::sync::Arc;
use std::time::{Duration, Instant};

use edd_auth_sidecar::log_service::{Queue, QueueLayer};
use tracing_subscriber::layer::SubscriberExt;

use crate::double::{Answer, Double, LogEntry};
use crate::{Process, eventually};

/// How many records the queue has room for.
const CAPACITY: usize = 1_024;

/// Logs numbers, a record each.
fn log(queue: &Arc<Queue>, numbers: std::ops::Range<usize>) {
    let subscriber = tracing_subscriber::registry().with(QueueLayer::new(Arc::clone(queue)));
    tracing::subscriber::with_default(subscriber, || {
        for number in numbers {
            tracing::info!(number, "record {number}");
        }
    });
}

fn numbers(entries: &[LogEntry]) -> Vec<usize> {
    entries.iter().map(|entry| entry.attributes["number"].parse().expect("a number")).collect()
}

#[tokio::test]
async fn records_wait_for_a_service_that_is_away_and_arrive_in_order() {
    let double = Double::away();
    let process = Process::start(&double);
    log(&process.queue, 0..20);
    eventually(async || (process.metrics.log_push_failures.get() > 1).then_some(())).await;
    assert_eq!(process.queue.len(), 20);
    double.come_up();
    let taken = double.until(|taken| taken.len() == 20).await;
    assert_eq!(numbers(&taken), (0..20).collect::<Vec<_>>());
    assert_eq!(taken[3].message, "record 3");
    assert_eq!(taken[3].source, "auth-service");
    eventually(async || process.queue.is_empty().then_some(())).await;
    assert_eq!((process.metrics.log_pushed.get(), process.queue.dropped().get()), (20, 0));
}

#[tokio::test]
async fn a_slow_service_costs_the_oldest_records_and_nobody_any_time() {
    let double = Double::start();
    double.answer(|_| Answer::Wait);
    let process = Process::start(&double);
    log(&process.queue, 0..1);
    double.until_it_keeps_somebody_waiting().await;
    let started = Instant::now();
    log(&process.queue, 1..CAPACITY + 11);
    assert!(started.elapsed() < Duration::from_secs(1), "{:?}", started.elapsed());
    assert_eq!((process.queue.len(), process.queue.dropped().get()), (CAPACITY, 11));
    assert!(process.metrics.render().contains("\nauth_log_dropped_total 11\n"));

    // The first was on its way when it was dropped.
    double.answer(|_| Answer::Take);
    let taken = double.until(|taken| taken.len() == CAPACITY + 1).await;
    let expected: Vec<usize> = [0].into_iter().chain(11..CAPACITY + 11).collect();
    assert_eq!(numbers(&taken), expected);
}

#[tokio::test]
async fn stopping_pushes_what_waits() {
    let double = Double::start();
    let process = Process::start(&double);
    log(&process.queue, 0..50);
    process.pushers.stop().await;
    assert_eq!(numbers(&double.taken()), (0..50).collect::<Vec<_>>());
}

#[tokio::test]
async fn stopping_does_not_wait_for_ever() {
    let double = Double::start();
    double.answer(|_| Answer::Wait);
    let process = Process::start(&double);
    log(&process.queue, 0..50);
    double.until_it_keeps_somebody_waiting().await;
    let started = Instant::now();
    process.pushers.stop().await;
    // Two seconds, and some for a machine that has other things to do.
    assert!(started.elapsed() < Duration::from_secs(4), "{:?}", started.elapsed());
}
