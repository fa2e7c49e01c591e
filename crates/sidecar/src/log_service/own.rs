//! Pushes this process's own records.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::client::Client;
use super::contract::LogEntry;
use super::pause;
use super::queue::Queue;
use crate::backoff::Backoff;

/// Pushes the oldest record until it is acknowledged, then the next. Ends when
/// `stop` is asked for and none is left.
///
/// A record stays in the queue meanwhile, so that the newest have room when the
/// log service refuses one for ever.
pub(super) async fn push(queue: Arc<Queue>, mut client: Client, stop: CancellationToken) {
    let mut backoff = Backoff::default();
    loop {
        let Some((place, record)) = queue.oldest() else {
            if stop.is_cancelled() {
                return;
            }
            tokio::select! {
                () = queue.filled() => {}
                () = stop.cancelled() => {}
            }
            continue;
        };
        if client.push(LogEntry::clone(&record)).await.is_ok() {
            queue.remove(place);
            backoff.reset();
        } else {
            pause(&mut backoff, &stop).await;
        }
    }
}
