//! What must not be, each with the traces that the entity concerned has left.

use std::collections::BTreeSet;
use std::fmt::{self, Display, Formatter};
use std::time::Duration;

use super::evidence::{AuditRow, Evidence, Message, OutboxRow};
use crate::history::{History, Record};

/// So many have a trace. One fault may show in thousands of places.
const TRACED: usize = 20;

/// So many lines of a trace, the nearest ones.
const LINES: usize = 40;

/// Something that must not be.
#[derive(Debug, Clone)]
pub(crate) struct Violation {
    /// What it is.
    pub(crate) sentence: String,
    /// Requests, audit rows, outbox rows and messages of the entity, in the order of
    /// their times.
    pub(crate) trace: Vec<String>,
}

impl Display for Violation {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.sentence)?;
        self.trace.iter().try_for_each(|line| write!(f, "\n    {line}"))
    }
}

/// What is found while the histories are compared.
#[derive(Default)]
pub(crate) struct Findings {
    found: Vec<Finding>,
}

struct Finding {
    sentence: String,
    entity: String,
    at: Option<i64>,
}

impl Findings {
    /// Adds one about a user, session, service account or token, or about the request
    /// with this id.
    pub(crate) fn add(&mut self, entity: &str, sentence: impl Into<String>) {
        self.found.push(Finding { sentence: sentence.into(), entity: entity.into(), at: None });
    }

    /// The same, near a moment: what has a long history.
    pub(crate) fn add_at(&mut self, entity: &str, at: i64, sentence: impl Into<String>) {
        self.found.push(Finding { sentence: sentence.into(), entity: entity.into(), at: Some(at) });
    }

    /// Adds their traces.
    pub(crate) fn into_violations(self, history: &History, evidence: &Evidence) -> Vec<Violation> {
        let violation = |(number, finding): (usize, Finding)| {
            let traced = number < TRACED;
            let trace = if traced { trace(&finding, history, evidence) } else { Vec::new() };
            Violation { sentence: format!("{}: {}", finding.entity, finding.sentence), trace }
        };
        self.found.into_iter().enumerate().map(violation).collect()
    }
}

fn trace(finding: &Finding, history: &History, evidence: &Evidence) -> Vec<String> {
    let entity = finding.entity.as_str();
    let outbox = evidence.outbox.iter().filter(|row| row.entity_id == entity);
    // Rows of one transaction have one time.
    let transactions: BTreeSet<i64> = outbox.clone().map(|row| row.occurred_at).collect();
    let is_about = |row: &AuditRow| {
        let resource = row.resource.as_deref().and_then(|resource| resource.split_once(':'));
        resource.is_some_and(|(_, id)| id == entity)
            || row.request_id.as_deref() == Some(entity)
            || transactions.contains(&row.occurred_at)
    };
    let audit: Vec<&AuditRow> = evidence.audit.iter().filter(|row| is_about(row)).collect();
    let requests: BTreeSet<&str> =
        audit.iter().filter_map(|row| row.request_id.as_deref()).collect();
    let records = history.records.iter().filter(|record| {
        record.operation.is_about(entity)
            || record.facts().is_some_and(|facts| facts.id.as_deref() == Some(entity))
            || record.request_id == entity
            || requests.contains(record.request_id.as_str())
    });
    let stream = evidence.stream.iter().filter(|message| {
        message.subject_parts().is_some_and(|(_, of, _)| of == entity)
            || message.event_id() == Some(entity)
    });
    let mut lines: Vec<(i64, String)> = records
        .map(|record| (history.started_at + micros(record.sent), record_line(record)))
        .chain(audit.iter().map(|row| (row.occurred_at, audit_line(row))))
        .chain(outbox.map(|row| (row.occurred_at, outbox_line(row))))
        .chain(stream.map(|message| (message.stored_at, message_line(message))))
        .collect();
    lines.sort_by_key(|(at, _)| *at);
    if let Some(at) = finding.at {
        let place = lines.partition_point(|(line_at, _)| *line_at < at);
        lines.drain(..place.saturating_sub(LINES / 2));
    }
    lines.truncate(LINES);
    let since = |at: i64| seconds(at.saturating_sub(history.started_at));
    lines.into_iter().map(|(at, line)| format!("{} {line}", since(at))).collect()
}

fn record_line(record: &Record) -> String {
    let Record { client, request_id, operation, answered, outcome, .. } = record;
    let answered = seconds(micros(*answered));
    format!("client {client}: {request_id} {operation:?}, at {answered} {outcome:?}")
}

fn audit_line(row: &AuditRow) -> String {
    let text = |value: &Option<String>| value.clone().unwrap_or_else(|| "-".to_owned());
    let (request, resource, reason) =
        (text(&row.request_id), text(&row.resource), text(&row.reason));
    let AuditRow { id, action, outcome, .. } = row;
    let actor = text(&row.actor);
    format!("audit_log {id}: {request} {action} {resource} by {actor}: {outcome} {reason}")
}

fn outbox_line(row: &OutboxRow) -> String {
    let OutboxRow { id, event_id, kind, data, stream_seq, .. } = row;
    let error = row.last_error.as_deref().unwrap_or_default();
    format!("outbox {id}: {event_id} {kind} {data} as {stream_seq:?} {error}")
}

fn message_line(message: &Message) -> String {
    let Message { sequence, subject, payload, .. } = message;
    let event_id = message.event_id().unwrap_or("-");
    format!("stream {sequence}: {event_id} {subject} {payload}")
}

/// A duration in microseconds.
pub(crate) fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

fn seconds(micros: i64) -> String {
    let sign = if micros < 0 { '-' } else { '+' };
    let micros = micros.unsigned_abs();
    format!("{sign}{}.{:06}s", micros / 1_000_000, micros % 1_000_000)
}
