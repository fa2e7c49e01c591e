//! Changes and their events.

use serde_json::json;

use super::super::story::over;
use super::{assert_found, audit, forget, outbox, record};
use crate::history::{Facts, Outcome, Record};

#[test]
fn without_its_event() {
    assert_found("ada001", "there is no UserCreated of it", |story| {
        forget(story, "UserCreated", "ada001");
    });
    assert_found("ada001", "there is no UserUpdated of it", |story| {
        forget(story, "UserUpdated", "ada001");
    });
    assert_found("s1", "there is no SessionCreated of it", |story| {
        forget(story, "SessionCreated", "s1");
    });
    assert_found("s1", "there is no SessionInvalidated of it", |story| {
        forget(story, "SessionInvalidated", "s1");
    });
    assert_found("account1", "there is no IdentityPermissionsUpdated of it", |story| {
        forget(story, "IdentityPermissionsUpdated", "account1");
    });
    assert_found("bob002", "there is no UserDeleted of it", |story| {
        forget(story, "UserDeleted", "bob002");
    });
}

#[test]
fn half_of_one() {
    // A new password that leaves a session open, in the table as well.
    assert_found("s3", "there is no SessionInvalidated of it", |story| {
        forget(story, "SessionInvalidated", "s3");
        let mut row = story.evidence.sessions[1].clone();
        row.id = "s3".to_owned();
        story.evidence.sessions.push(row);
    });
    assert_found("s6", "there is no SessionInvalidated of it", |story| {
        forget(story, "SessionInvalidated", "s6");
    });
    assert_found("s5", "there is no SessionInvalidated of it", |story| {
        forget(story, "SessionInvalidated", "s5");
    });
    assert_found("account2", "there is no IdentityPermissionsDeleted of it", |story| {
        forget(story, "IdentityPermissionsDeleted", "account2");
    });
}

#[test]
fn whose_answer_was_lost_and_of_which_half_happened() {
    // The event and the table, but not the audit row.
    assert_found("ada001", "tells of what did not happen", |story| {
        let lost = story
            .history
            .records
            .iter()
            .find(|record| matches!(&record.outcome, Outcome::Unknown(_)));
        let id = lost.map(|record| record.request_id.clone());
        story.evidence.audit.retain(|row| row.request_id != id);
    });
    // The audit row, but not the event.
    assert_found("ada001", "there is no UserUpdated of it", |story| {
        let last = story
            .evidence
            .outbox
            .iter()
            .rposition(|row| row.kind == "UserUpdated" && row.entity_id == "ada001");
        story.evidence.outbox.remove(last.expect("an event"));
    });
}

#[test]
fn an_event_of_what_nobody_did() {
    assert_found("s2", "tells of what did not happen", |story| {
        story.event(&over(2, "ada001", "s2", "logout"));
    });
}

#[test]
fn a_session_that_expires_before_its_time() {
    assert_found("s2", "tells of what did not happen", |story| {
        story.event(&over(2, "ada001", "s2", "expired"));
    });
}

#[test]
fn a_session_that_ends_for_another_reason() {
    assert_found("s1", "not {\"public_id\":\"ada001\",\"reason\":\"logout\"", |story| {
        outbox(story, "SessionInvalidated", "s1").data["reason"] = json!("revoked");
    });
}

#[test]
fn an_event_of_another_transaction() {
    assert_found("ada001", "there is no UserUpdated of it", |story| {
        outbox(story, "UserUpdated", "ada001").occurred_at += 1;
    });
}

#[test]
fn an_event_that_says_something_else() {
    for (kind, entity, field) in [
        ("UserCreated", "ada001", "username"),
        ("UserUpdated", "ada001", "display_name"),
        ("UserDeleted", "bob002", "version"),
        ("SessionCreated", "s1", "public_id"),
        ("SessionCreated", "s1", "user_id"),
        ("IdentityPermissionsUpdated", "account1", "scopes"),
        ("IdentityPermissionsDeleted", "account2", "version"),
    ] {
        assert_found(entity, &format!("{kind} says"), |story| {
            outbox(story, kind, entity).data[field] = json!("something else");
        });
    }
}

#[test]
fn an_event_that_says_too_much() {
    assert_found("ada001", "UserCreated says", |story| {
        outbox(story, "UserCreated", "ada001").data["password_hash"] = json!("$");
    });
}

#[test]
fn an_answer_that_says_something_else() {
    let facts = |record: &mut Record, change: fn(&mut Facts)| {
        if let Outcome::Acknowledged(facts) = &mut record.outcome {
            change(facts);
        }
    };
    assert_found("ada001", "the answer says version", |story| {
        facts(record(story, "user.update", "user:ada001"), |facts| facts.version = Some(7));
    });
    assert_found("ada001", "the answer says user_id", |story| {
        facts(record(story, "user.create", "user:ada001"), |facts| facts.user_id = Some(7));
    });
    assert_found("s1", "the token ends at Some(7)", |story| {
        facts(record(story, "login", "session:s1"), |facts| facts.expires_at = Some(7));
    });
}

#[test]
fn a_change_after_the_end() {
    assert_found("bob002", "changed while it was not there", |story| {
        let row = audit(story, "user.delete", "user:bob002");
        row.id = 0;
        let row = row.clone();
        story.evidence.audit.retain(|row| row.id != 0);
        story.evidence.audit.insert(0, row);
    });
}

#[test]
fn of_something_that_is_not_there_yet() {
    for (action, resource, sentence) in [
        ("user.update", "user:ada001", "changed while it was not there"),
        ("service_account.update", "service_account:account1", "changed while it was not there"),
        ("token.revoke", "token:token2", "was revoked while it was not there"),
        ("logout", "session:s1", "ended while it was not there"),
    ] {
        let (_, entity) = resource.split_once(':').expect("an id");
        assert_found(entity, sentence, |story| {
            let id = audit(story, action, resource).id;
            let place = story.evidence.audit.iter().position(|row| row.id == id);
            let row = story.evidence.audit.remove(place.expect("a row"));
            story.evidence.audit.insert(0, row);
        });
    }
}

#[test]
fn that_makes_what_is_there_already() {
    for (action, resource, other, sentence) in [
        ("user.create", "user:bob002", "user:ada001", "was created twice"),
        ("login", "session:s3", "session:s2", "was opened twice"),
        ("token.create", "token:token2", "token:token1", "was created twice"),
        (
            "service_account.create",
            "service_account:account2",
            "service_account:account1",
            "was created twice",
        ),
    ] {
        let (_, entity) = other.split_once(':').expect("an id");
        assert_found(entity, sentence, |story| {
            audit(story, action, resource).resource = Some(other.to_owned());
        });
    }
}

#[test]
fn a_login_of_a_disabled_user() {
    assert_found("s6", "was opened while its user was disabled", |story| {
        let login = audit(story, "login", "session:s6").id;
        let place = story.evidence.audit.iter().position(|row| row.id == login);
        let row = story.evidence.audit.remove(place.expect("a login"));
        story.evidence.audit.push(row);
    });
}
