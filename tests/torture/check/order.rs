//! The order of things, per entity: that of changes is the one that clients have seen,
//! that of events is that of changes, and that of messages is that of events.

use std::collections::BTreeMap;

use super::evidence::{Evidence, Message};
use super::findings::{Findings, micros};
use super::model::{Explanation, Model};
use super::requests::Change;
use crate::history::{History, Operation, Outcome, Record};

/// No change stands behind one that was asked for after the first was acknowledged.
pub(crate) fn of_changes(changes: &[Change<'_>], findings: &mut Findings) {
    let mut by_resource: BTreeMap<&str, Vec<&Record>> = BTreeMap::new();
    for change in changes {
        if let (Some(resource), Some(record)) = (&change.audit.resource, change.record) {
            by_resource.entry(resource).or_default().push(record);
        }
    }
    for (resource, records) in by_resource {
        let entity = resource.split_once(':').map_or(resource, |(_, id)| id);
        check_real_time(entity, "the audit log", records.into_iter(), findings);
    }
}

/// The same of the outbox; and its order is that of the changes.
pub(crate) fn of_events(
    changes: &[Change<'_>],
    model: &Model<'_>,
    evidence: &Evidence,
    findings: &mut Findings,
) {
    let mut by_entity: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (row, explanation) in evidence.outbox.iter().zip(&model.explained) {
        if let Some(Explanation::Change(number)) = explanation {
            by_entity.entry(&row.entity_id).or_default().push(*number);
        }
    }
    for (entity, numbers) in by_entity {
        if !numbers.is_sorted() {
            findings.add(entity, "its events are not in the order of its changes");
        }
        let records = numbers.iter().filter_map(|number| changes[*number].record);
        check_real_time(entity, "the outbox", records, findings);
    }
}

/// Looks for a request that was answered before an earlier one in this order was sent.
/// A request whose answer was lost may have happened at any time after it was sent.
fn check_real_time<'a>(
    entity: &str,
    place: &str,
    records: impl Iterator<Item = &'a Record>,
    findings: &mut Findings,
) {
    let mut last_sent: Option<&Record> = None;
    for record in records {
        if let Some(before) = last_sent
            && record.facts().is_some()
            && record.answered < before.sent
        {
            let sentence = format!(
                "in {place}, {} stands before {}, which was acknowledged before the first was sent",
                before.request_id, record.request_id
            );
            findings.add(entity, sentence);
        }
        if last_sent.is_none_or(|before| record.sent > before.sent) {
            last_sent = Some(record);
        }
    }
}

/// The messages of an entity are in the order of its events; nothing comes before the
/// first or after the last of its life, and versions rise.
pub(crate) fn of_messages(evidence: &Evidence, findings: &mut Findings) {
    let places = evidence.outbox.iter().enumerate();
    let places: BTreeMap<&str, usize> =
        places.map(|(place, row)| (row.event_id.as_str(), place)).collect();
    let mut lives: BTreeMap<(&str, &str), Life> = BTreeMap::new();
    for message in &evidence.stream {
        let Some((kind, entity, what)) = message.subject_parts() else {
            let event_id = message.event_id().unwrap_or_default();
            findings.add(event_id, format!("unknown subject {}", message.subject));
            continue;
        };
        let life = lives.entry((kind, entity)).or_default();
        let place = message.event_id().and_then(|id| places.get(id)).copied();
        if let Some(sentence) = life.go_on(kind, what, message, place) {
            let sentence = format!("message {}: {sentence}", message.sequence);
            findings.add_at(entity, message.stored_at, sentence);
        }
    }
}

/// The life of an entity, as the stream tells it.
#[derive(Default)]
struct Life {
    has_begun: bool,
    has_ended: bool,
    version: i64,
    place: usize,
}

impl Life {
    /// Takes the next message. Returns what is wrong with it.
    fn go_on(
        &mut self,
        kind: &str,
        what: &str,
        message: &Message,
        place: Option<usize>,
    ) -> Option<String> {
        // The first event of a service account is an update.
        let begins = what == "created" || kind == "identity" && !self.has_begun;
        let ends = matches!(what, "deleted" | "invalidated");
        let version = message.payload["version"].as_i64();
        let wrong = if self.has_ended {
            Some(format!("{what} after the end"))
        } else if begins && self.has_begun {
            Some("created twice".to_owned())
        } else if !self.has_begun && (!begins || ends) {
            Some(format!("{what} before it was created"))
        } else if kind != "session" && version.is_none_or(|version| version <= self.version) {
            Some(format!("version {version:?} after {}", self.version))
        } else if place.is_some_and(|place| place < self.place) {
            Some("it stands behind a later event".to_owned())
        } else {
            None
        };
        self.has_begun = true;
        self.has_ended |= ends;
        self.version = self.version.max(version.unwrap_or_default());
        self.place = self.place.max(place.unwrap_or_default());
        wrong
    }
}

/// Whoever reads a user sees every change that was acknowledged before, and none that
/// nobody had asked for yet.
pub(crate) fn of_reads(history: &History, changes: &[Change<'_>], findings: &mut Findings) {
    // What raises the version of a user, version by version.
    let mut versions: BTreeMap<&str, Vec<Option<&Record>>> = BTreeMap::new();
    for change in changes {
        let raises = matches!(
            change.audit.action.as_str(),
            "user.create" | "user.update" | "profile.update" | "user.delete"
        );
        if let (true, Some(user)) = (raises, change.audit.id_of("user")) {
            versions.entry(user).or_default().push(change.record);
        }
    }
    for record in &history.records {
        let (Operation::ReadUser { user }, Outcome::Acknowledged(facts)) =
            (&record.operation, &record.outcome)
        else {
            continue;
        };
        let changes = versions.get(user.as_str()).map_or(&[][..], Vec::as_slice);
        let is_before = |change: Option<&Record>| {
            change.is_none_or(|change| change.facts().is_some() && change.answered < record.sent)
        };
        let is_asked =
            |change: Option<&Record>| change.is_none_or(|change| change.sent < record.answered);
        let least =
            changes.iter().rposition(|change| is_before(*change)).map_or(0, |place| place + 1);
        let most =
            changes.iter().rposition(|change| is_asked(*change)).map_or(0, |place| place + 1);
        let seen = facts.version.and_then(|version| usize::try_from(version).ok());
        if !seen.is_some_and(|seen| (least..=most).contains(&seen)) {
            let sentence = format!(
                "{} read version {:?}, which has to be from {least} to {most}",
                record.request_id, facts.version
            );
            let at = history.started_at + micros(record.sent);
            findings.add_at(user, at, sentence);
        }
    }
}
