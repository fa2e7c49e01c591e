//! The independent checker: what clients were told, the tables, and the stream have to
//! tell one story. It knows the API and `docs/asyncapi.yaml`, and none of the
//! service's code.
//!
//! Two facts of the schema tie the histories together: an audit row has the id of its
//! request, and all rows of one transaction have one `occurred_at`.

mod cache;
mod evidence;
mod findings;
mod logins;
mod model;
mod order;
mod requests;
mod sessions;
mod stream;
mod tables;
#[cfg(test)]
mod tests;

use crate::history::History;
use evidence::Evidence;
use findings::Findings;
pub(crate) use findings::Violation;

/// What was found.
#[derive(Debug)]
pub(crate) struct Report {
    /// Requests that were sent.
    pub(crate) requests: usize,
    /// Those that were done.
    pub(crate) acknowledged: usize,
    /// Those that were not done.
    pub(crate) refused: usize,
    /// Changes whose answer was lost and that happened.
    pub(crate) unknown_happened: usize,
    /// Requests whose answer was lost and of which nothing came.
    pub(crate) unknown_did_not: usize,
    /// Events in the outbox.
    pub(crate) events: usize,
    /// What must not be.
    pub(crate) violations: Vec<Violation>,
}

/// Compares the three histories. Clients have stopped, and the outbox is drained. The
/// URL of the database is its owner's.
///
/// # Errors
///
/// When the database or the stream can't be read.
pub(crate) async fn verify(
    history: &History,
    database_url: &str,
    nats_url: &str,
) -> anyhow::Result<Report> {
    Ok(judge(history, &evidence::read(database_url, nats_url).await?))
}

fn judge(history: &History, evidence: &Evidence) -> Report {
    let mut findings = Findings::default();
    let told = requests::compare(history, evidence, &mut findings);
    let model = model::replay(&told.changes, evidence, &mut findings);
    tables::compare(&model, evidence, &mut findings);
    stream::compare(evidence, &mut findings);
    order::of_changes(&told.changes, &mut findings);
    order::of_events(&told.changes, &model, evidence, &mut findings);
    order::of_messages(evidence, &mut findings);
    order::of_reads(history, &told.changes, &mut findings);
    sessions::compare(history, &told.changes, &model, &mut findings);
    logins::compare(history, &told.changes, &mut findings);
    cache::compare(evidence, &mut findings);
    Report {
        requests: history.records.len(),
        acknowledged: told.acknowledged,
        refused: told.refused,
        unknown_happened: told.unknown_happened,
        unknown_did_not: told.unknown_did_not,
        events: evidence.outbox.len(),
        violations: findings.into_violations(history, evidence),
    }
}
