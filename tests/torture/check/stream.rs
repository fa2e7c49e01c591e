//! The outbox against the stream: each row is one message, each message one row, and
//! both say the same.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;

use super::evidence::{Evidence, Message, OutboxRow};
use super::findings::Findings;

/// Compares both, both ways.
pub(crate) fn compare(evidence: &Evidence, findings: &mut Findings) {
    let mut rows: BTreeMap<&str, &OutboxRow> = BTreeMap::new();
    for row in &evidence.outbox {
        if rows.insert(&row.event_id, row).is_some() {
            findings.add(&row.entity_id, format!("{} is twice in the outbox", row.event_id));
        }
    }
    let mut published = BTreeSet::new();
    for message in &evidence.stream {
        let event_id = message.event_id().unwrap_or_default();
        let entity = message.subject_parts().map_or(event_id, |(_, entity, _)| entity);
        let sequence = message.sequence;
        let Some(row) = rows.get(event_id) else {
            let sentence = format!("message {sequence} is of no event ({event_id})");
            findings.add_at(entity, message.stored_at, sentence);
            continue;
        };
        if !published.insert(event_id) {
            let sentence = format!("message {sequence} is the second one of {event_id}");
            findings.add_at(entity, message.stored_at, sentence);
            continue;
        }
        compare_content(row, message, findings);
    }
    for row in &evidence.outbox {
        let missing = !published.contains(row.event_id.as_str());
        if let Some(sentence) = state_of(row, missing) {
            findings.add_at(&row.entity_id, row.occurred_at, sentence);
        }
    }
}

/// What is wrong with the state of a row, once everything is published.
fn state_of(row: &OutboxRow, missing: bool) -> Option<String> {
    let OutboxRow { kind, event_id, .. } = row;
    if row.is_set_aside {
        Some(format!("{kind} {event_id} was set aside: {:?}", row.last_error))
    } else if missing {
        Some(format!("{kind} {event_id} is missing in the stream"))
    } else if row.stream_seq.is_none() {
        Some(format!("{kind} {event_id} is in the stream and not marked"))
    } else {
        None
    }
}

fn compare_content(row: &OutboxRow, message: &Message, findings: &mut Findings) {
    let mut find = |what: &str, found: String, wanted: String| {
        if found != wanted {
            let sentence = format!(
                "message {} has {what} {found}, not {wanted}, of {}",
                message.sequence, row.event_id
            );
            findings.add_at(&row.entity_id, row.occurred_at, sentence);
        }
    };
    find("the subject", message.subject.clone(), subject_of(row));
    for (name, wanted) in [
        ("ce-id", row.event_id.as_str()),
        ("ce-type", &row.kind),
        ("ce-time", &row.occurred_at_text),
        ("ce-source", "auth-service"),
        ("ce-specversion", "1.0"),
    ] {
        let found = message.header(name).unwrap_or_default().to_owned();
        find(&format!("the header {name}"), found, wanted.to_owned());
    }
    let mut payload = row.data.clone();
    payload["metadata"] = json!({
        "event_id": row.event_id, "entity_id": row.entity_id,
        "timestamp": row.occurred_at.div_euclid(1_000_000),
        "source": "auth-service", "version": "1.0"});
    // Equal objects are equal texts: their keys are sorted.
    find("the payload", message.payload.to_string(), payload.to_string());
    // Nothing to compare with where the row is not marked at all.
    let marked = row.stream_seq.unwrap_or(message.sequence);
    find("the sequence", message.sequence.to_string(), marked.to_string());
}

fn subject_of(row: &OutboxRow) -> String {
    let (kind, what) = match row.kind.as_str() {
        "UserCreated" => ("user", "created"),
        "UserUpdated" => ("user", "updated"),
        "UserDeleted" => ("user", "deleted"),
        "SessionCreated" => ("session", "created"),
        "SessionInvalidated" => ("session", "invalidated"),
        "IdentityPermissionsUpdated" => ("identity", "updated"),
        "IdentityPermissionsDeleted" => ("identity", "deleted"),
        _ => ("?", "?"),
    };
    format!("auth.{kind}.{}.{what}", row.entity_id)
}
