//! Requests and the audit log.

use super::{UPDATE, assert_found, audit, record};
use crate::check::evidence::AuditRow;
use crate::history::{Facts, Outcome};

#[test]
fn an_acknowledged_change_that_did_not_happen() {
    assert_found(UPDATE, "acknowledged, and the audit log has no row", |story| {
        let id = audit(story, "user.update", "user:ada001").id;
        story.evidence.audit.retain(|row| row.id != id);
    });
}

#[test]
fn a_refused_change_that_happened() {
    assert_found(UPDATE, "refused (409 username_taken), and it happened", |story| {
        record(story, "user.update", "user:ada001").outcome =
            Outcome::Refused(409, "username_taken".to_owned());
    });
}

#[test]
fn a_change_that_happened_twice() {
    assert_found(UPDATE, "happened 2 times", |story| {
        let row = audit(story, "user.update", "user:ada001").clone();
        story.evidence.audit.push(AuditRow { id: 1000, ..row });
    });
}

#[test]
fn a_change_that_nobody_asked_for() {
    assert_found("stranger", "user.update happened, and nobody asked", |story| {
        let row = audit(story, "user.update", "user:ada001").clone();
        let request_id = Some("stranger".to_owned());
        story.evidence.audit.push(AuditRow { id: 1000, request_id, ..row });
    });
}

#[test]
fn a_user_without_a_request_whom_somebody_has_made() {
    assert_found("admin0", "user.create happened, and nobody asked", |story| {
        audit(story, "user.create", "user:admin0").actor = Some("eve666".to_owned());
    });
}

#[test]
fn another_change_than_the_one_that_was_asked_for() {
    assert_found(UPDATE, "user.delete happened instead", |story| {
        audit(story, "user.update", "user:ada001").action = "user.delete".to_owned();
    });
}

#[test]
fn a_change_of_somebody_else() {
    assert_found(UPDATE, "happened to Some(\"user:carl03\")", |story| {
        audit(story, "user.update", "user:ada001").resource = Some("user:carl03".to_owned());
    });
}

#[test]
fn an_answer_that_does_not_name_what_was_made() {
    assert_found("r1", "happened to Some(\"user:ada001\"), not to None", |story| {
        let record = record(story, "user.create", "user:ada001");
        record.outcome = Outcome::Acknowledged(Facts::default());
    });
}

#[test]
fn two_requests_with_one_id() {
    assert_found("r1", "two requests have this id", |story| {
        story.history.records[2].request_id = "r1".to_owned();
    });
}
