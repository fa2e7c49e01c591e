//! One golden file per kind: the message that consumers have been promised.

use edd_auth_events::{Event, Kind, OutboxRow, RowError};
use serde_json::{Value, json};

const SESSION: &str = "01981f5e-7b5a-7c3d-8e4f-5a6b7c8d9e0f";

fn row(kind: Kind) -> OutboxRow {
    let (entity_id, data) = match kind {
        Kind::UserCreated | Kind::UserUpdated => (
            "a1B2c3",
            json!({"user_id": 7, "public_id": "a1B2c3", "username": "ada",
                   "display_name": "Ada Lovelace",
                   "version": if kind == Kind::UserCreated { 1 } else { 2 }}),
        ),
        Kind::UserDeleted => (
            "a1B2c3",
            json!({"user_id": 7, "public_id": "a1B2c3", "username": "ada", "version": 3}),
        ),
        Kind::SessionCreated => (
            SESSION,
            json!({"session_id": SESSION, "user_id": 7, "public_id": "a1B2c3",
                   "expires_at": 1_790_086_400}),
        ),
        Kind::SessionInvalidated => (
            SESSION,
            json!({"session_id": SESSION, "user_id": 7, "public_id": "a1B2c3",
                   "reason": "password_changed"}),
        ),
        Kind::IdentityPermissionsUpdated => (
            "Sa9x8yT7w6v5",
            json!({"service_account_id": "Sa9x8yT7w6v5", "user_id": 7, "public_id": "a1B2c3",
                   "scopes": {"sfs.a1B2c3.files": ["read", "write"]}, "version": 3}),
        ),
        Kind::IdentityPermissionsDeleted => (
            "Sa9x8yT7w6v5",
            json!({"service_account_id": "Sa9x8yT7w6v5", "user_id": 7, "public_id": "a1B2c3",
                   "version": 4}),
        ),
    };
    OutboxRow {
        event_id: "01981f5e-0000-7000-8000-000000000001".parse().expect("a UUID"),
        kind: kind.to_string(),
        entity_id: entity_id.to_owned(),
        data,
        occurred_at_unix: 1_790_000_000,
        occurred_at_rfc3339: "2026-09-21T14:13:20.000000Z".to_owned(),
    }
}

fn golden(kind: Kind) -> Value {
    let text = match kind {
        Kind::UserCreated => include_str!("golden/UserCreated.json"),
        Kind::UserUpdated => include_str!("golden/UserUpdated.json"),
        Kind::UserDeleted => include_str!("golden/UserDeleted.json"),
        Kind::SessionCreated => include_str!("golden/SessionCreated.json"),
        Kind::SessionInvalidated => include_str!("golden/SessionInvalidated.json"),
        Kind::IdentityPermissionsUpdated => include_str!("golden/IdentityPermissionsUpdated.json"),
        Kind::IdentityPermissionsDeleted => include_str!("golden/IdentityPermissionsDeleted.json"),
    };
    serde_json::from_str(text).expect("a golden file is JSON")
}

#[test]
fn every_kind_makes_the_promised_message() {
    for kind in Kind::ALL {
        let event = Event::from_outbox(row(kind)).expect("the row fits");
        let payload: Value =
            serde_json::from_slice(&event.payload().expect("serializes")).expect("JSON");
        let headers: serde_json::Map<String, Value> = event
            .headers()
            .into_iter()
            .map(|(name, value)| (name.to_owned(), Value::String(value)))
            .collect();
        let message = json!({"subject": event.subject(), "headers": headers, "payload": payload});
        assert_eq!(message, golden(kind), "{kind}");
    }
}

#[test]
fn a_user_without_a_display_name_has_null_there() {
    let mut row = row(Kind::UserCreated);
    row.data["display_name"] = Value::Null;
    let event = Event::from_outbox(row).expect("the row fits");
    let payload: Value =
        serde_json::from_slice(&event.payload().expect("serializes")).expect("JSON");
    assert_eq!(payload["display_name"], Value::Null);
}

#[test]
fn a_row_that_does_not_fit_says_why() {
    let refused = |change: &dyn Fn(&mut OutboxRow)| {
        let mut row = row(Kind::SessionInvalidated);
        change(&mut row);
        Event::from_outbox(row).expect_err("refused")
    };
    assert_eq!(
        refused(&|row| row.kind = "SessionForgotten".to_owned()),
        RowError::UnknownKind("SessionForgotten".to_owned())
    );
    assert!(matches!(
        refused(&|row| row.data["reason"] = json!("bored")),
        RowError::Data(Kind::SessionInvalidated, reason) if reason.contains("bored")
    ));
    assert!(matches!(
        refused(&|row| row.data["extra"] = json!(1)),
        RowError::Data(_, reason) if reason.contains("extra")
    ));
    assert!(matches!(
        refused(&|row| row.entity_id = "another".to_owned()),
        RowError::EntityMismatch { column, .. } if column == "another"
    ));
}

#[test]
fn an_id_that_is_more_than_one_subject_token_is_refused() {
    for id in ["", "a.b", "*", ">", "a b", "ä"] {
        let mut row = row(Kind::UserDeleted);
        row.entity_id = id.to_owned();
        row.data["public_id"] = json!(id);
        assert_eq!(Event::from_outbox(row), Err(RowError::Subject(id.to_owned())), "{id:?}");
    }
}
