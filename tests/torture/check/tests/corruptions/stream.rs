//! The outbox and the stream.

use serde_json::json;

use super::{EVENT, assert_found, message, outbox};
use crate::check::evidence::Message;

const UPDATED: &str = "auth.user.ada001.updated";

#[test]
fn a_message_that_is_missing() {
    assert_found("ada001", &format!("UserUpdated {EVENT} is missing in the stream"), |story| {
        story.evidence.stream.retain(|message| message.event_id() != Some(EVENT));
    });
}

#[test]
fn a_message_that_is_there_twice() {
    assert_found("ada001", "message 1000 is the second one of", |story| {
        let message = message(story, UPDATED).clone();
        story.evidence.stream.push(Message { sequence: 1000, ..message });
    });
}

#[test]
fn a_message_of_no_event() {
    assert_found("ada001", "is of no event (e1000)", |story| {
        let id = vec!["e1000".to_owned()];
        message(story, UPDATED).headers.insert("Nats-Msg-Id".to_owned(), id);
    });
    assert_found("ada001", "is of no event ()", |story| {
        message(story, UPDATED).headers.remove("Nats-Msg-Id");
    });
}

#[test]
fn a_message_that_says_something_else() {
    assert_found("ada001", "has the payload", |story| {
        message(story, UPDATED).payload["display_name"] = json!("Eve");
    });
    assert_found("ada001", "has the payload", |story| {
        message(story, UPDATED).payload["metadata"]["timestamp"] = json!(7);
    });
    for name in ["ce-id", "ce-type", "ce-time", "ce-source", "ce-specversion"] {
        assert_found("ada001", &format!("has the header {name}"), |story| {
            message(story, UPDATED).headers.insert(name.to_owned(), vec!["x".to_owned()]);
        });
    }
}

#[test]
fn a_message_in_another_place_than_the_one_that_is_marked() {
    assert_found("ada001", "has the sequence", |story| {
        outbox(story, "UserUpdated", "ada001").stream_seq = Some(1000);
    });
}

#[test]
fn a_message_with_another_subject() {
    assert_found("ada001", "has the subject auth.user.ada002.updated", |story| {
        message(story, UPDATED).subject = "auth.user.ada002.updated".to_owned();
    });
    assert_found(EVENT, "unknown subject auth.user", |story| {
        message(story, UPDATED).subject = "auth.user".to_owned();
    });
}

#[test]
fn a_row_that_is_not_marked_or_set_aside() {
    assert_found("ada001", "is in the stream and not marked", |story| {
        outbox(story, "UserUpdated", "ada001").stream_seq = None;
    });
    assert_found("ada001", "was set aside: Some(\"too large\")", |story| {
        let row = outbox(story, "UserUpdated", "ada001");
        row.is_set_aside = true;
        row.last_error = Some("too large".to_owned());
    });
}

#[test]
fn a_row_that_is_there_twice() {
    assert_found("ada001", &format!("{EVENT} is twice in the outbox"), |story| {
        let row = outbox(story, "UserUpdated", "ada001").clone();
        story.evidence.outbox.push(row);
    });
}
