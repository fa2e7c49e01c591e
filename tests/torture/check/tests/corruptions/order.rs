//! The order of things.

use std::time::Duration;

use serde_json::json;

use super::{assert_found, message, record, to_the_end};
use crate::check::judge;
use crate::check::tests::story::Story;
use crate::history::{Facts, Operation, Outcome, Record};

#[test]
fn an_update_that_comes_after_a_later_one() {
    assert_found("ada001", "version Some(2) after 3", |story| {
        to_the_end(story, "auth.user.ada001.updated");
    });
}

#[test]
fn an_end_that_comes_before_the_beginning() {
    assert_found("s1", "invalidated before it was created", |story| {
        to_the_end(story, "auth.session.s1.created");
    });
    assert_found("s1", "created after the end", |story| {
        to_the_end(story, "auth.session.s1.created");
    });
    assert_found("account2", "deleted before it was created", |story| {
        to_the_end(story, "auth.identity.account2.updated");
    });
    assert_found("ada001", "updated before it was created", |story| {
        to_the_end(story, "auth.user.ada001.created");
    });
}

#[test]
fn a_second_beginning() {
    assert_found("ada001", "created twice", |story| {
        message(story, "auth.user.ada001.updated").subject = "auth.user.ada001.created".to_owned();
    });
}

#[test]
fn a_message_behind_one_of_a_later_event() {
    // Versions that rise all the same: those of the messages are exchanged, too.
    assert_found("ada001", "it stands behind a later event", |story| {
        to_the_end(story, "auth.user.ada001.updated");
        let last = story.evidence.stream.last_mut().expect("a message");
        last.payload["version"] = json!(1000);
    });
}

#[test]
fn events_in_another_order_than_the_changes() {
    assert_found("ada001", "not in the order of its changes", |story| {
        let places: Vec<usize> = (0..story.evidence.outbox.len())
            .filter(|place| story.evidence.outbox[*place].kind == "UserUpdated")
            .collect();
        story.evidence.outbox.swap(places[0], places[1]);
    });
}

#[test]
fn a_change_before_one_that_was_acknowledged_before_it_was_sent() {
    // The update stands behind the creation, which was sent after the update's answer.
    for place in ["in the audit log, ", "in the outbox, "] {
        assert_found("ada001", place, |story| {
            let update = record(story, "user.update", "user:ada001");
            update.sent = Duration::ZERO;
            update.answered = Duration::from_millis(1);
        });
    }
}

/// Lets a reader of ada see this version.
fn see(story: &mut Story, version: i64) {
    let mut records = story.history.records.iter_mut();
    let read = records.find(|record| matches!(record.operation, Operation::ReadUser { .. }));
    read.expect("a read").outcome =
        Outcome::Acknowledged(Facts { version: Some(version), ..Facts::default() });
}

#[test]
fn a_stale_read() {
    assert_found("ada001", "read version Some(1), which has to be from 2 to 3", |story| {
        see(story, 1);
    });
}

#[test]
fn a_read_of_what_nobody_has_asked_for() {
    assert_found("ada001", "read version Some(7), which has to be from 2 to 3", |story| {
        see(story, 7);
    });
}

#[test]
fn a_session_that_opens_something_after_its_end() {
    assert_found("s1", "opened something after its end", |story| {
        let mut records = story.history.records.iter_mut();
        let read = records.find(|record| matches!(&record.outcome, Outcome::Refused(401, _)));
        read.expect("a refusal").outcome = Outcome::Acknowledged(Facts::default());
    });
}

#[test]
fn a_right_password_that_is_refused() {
    assert_found("ada001", "was refused with the right password", |story| {
        record(story, "login", "session:s2").outcome =
            Outcome::Refused(401, "invalid_credentials".to_owned());
    });
}

/// Lets ada's last login, which was refused, be one with the right password.
fn refuse_ada(story: &mut Story) {
    let of_ada = |record: &&mut Record| matches!(&record.operation, Operation::Login { username, .. } if username == "countess");
    let login = story.history.records.iter_mut().find(of_ada).expect("a login");
    let user = Some("ada001".to_owned());
    login.operation = Operation::Login { user, username: "countess".to_owned(), password: 8 };
}

#[test]
fn a_right_password_that_is_refused_some_time_after_a_change_without_an_answer() {
    assert_found("ada001", "was refused with the right password", refuse_ada);
}

#[test]
fn but_not_a_password_of_which_nobody_knows_since_when_it_is_right() {
    let mut story = Story::tell();
    refuse_ada(&mut story);
    record(&mut story, "password.change", "user:ada001").outcome =
        Outcome::Unknown("late".to_owned());
    let report = judge(&story.history, &story.evidence);
    assert!(report.violations.is_empty(), "{}", report.violations[0]);
}

#[test]
fn a_session_that_is_refused_while_it_lives() {
    assert_found("s2", "was refused while it lived", |story| {
        let read = story.history.records.iter_mut().find(|record| {
            matches!(&record.operation, Operation::ReadOwn { session }
                if session == "s2")
        });
        read.expect("a read").outcome = Outcome::Refused(401, "invalid_token".to_owned());
    });
}
