//! What can go wrong, one thing at a time.

mod cache;
mod changes;
mod order;
mod requests;
mod stream;
mod tables;

use super::assert_found;
use super::story::Story;
use crate::check::evidence::{AuditRow, Message, OutboxRow};
use crate::history::Record;

/// The first change of ada's, which was acknowledged.
const UPDATE: &str = "r15";

/// Its event.
const EVENT: &str = "e12";

/// The row of the audit log about a request of this action on this resource.
fn audit<'a>(story: &'a mut Story, action: &str, resource: &str) -> &'a mut AuditRow {
    let mut rows = story.evidence.audit.iter_mut();
    rows.find(|row| row.action == action && row.resource.as_deref() == Some(resource))
        .expect("a row")
}

/// The request of a row of the audit log.
fn record<'a>(story: &'a mut Story, action: &str, resource: &str) -> &'a mut Record {
    let id = audit(story, action, resource).request_id.clone().expect("a request");
    story.history.records.iter_mut().find(|record| record.request_id == id).expect("a request")
}

fn outbox<'a>(story: &'a mut Story, kind: &str, entity: &str) -> &'a mut OutboxRow {
    let mut rows = story.evidence.outbox.iter_mut();
    rows.find(|row| row.kind == kind && row.entity_id == entity).expect("an event")
}

fn message<'a>(story: &'a mut Story, subject: &str) -> &'a mut Message {
    let mut messages = story.evidence.stream.iter_mut();
    messages.find(|message| message.subject == subject).expect("a message")
}

/// Takes an event out of the outbox and out of the stream.
fn forget(story: &mut Story, kind: &str, entity: &str) {
    let event_id = outbox(story, kind, entity).event_id.clone();
    story.evidence.outbox.retain(|row| row.event_id != event_id);
    story.evidence.stream.retain(|message| message.event_id() != Some(&event_id));
}

/// Makes a message the last one.
fn to_the_end(story: &mut Story, subject: &str) {
    let place = story.evidence.stream.iter().position(|message| message.subject == subject);
    let mut message = story.evidence.stream.remove(place.expect("a message"));
    message.sequence = 1000;
    let mut rows = story.evidence.outbox.iter_mut();
    let row = rows.find(|row| Some(row.event_id.as_str()) == message.event_id());
    row.expect("its row").stream_seq = Some(1000);
    story.evidence.stream.push(message);
}
