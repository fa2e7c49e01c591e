//! Ids in subjects: whatever the id, a subject has four tokens, and none that means
//! more than itself.

#![no_main]

use edd_auth_events::{Event, OutboxRow};
use libfuzzer_sys::fuzz_target;
use serde_json::json;

fuzz_target!(|id: &str| {
    for (kind, data) in [
        ("UserDeleted", json!({"user_id": 7, "public_id": id, "username": id, "version": 2})),
        (
            "SessionInvalidated",
            json!({"session_id": id, "user_id": 7, "public_id": id, "reason": "logout"}),
        ),
        (
            "IdentityPermissionsDeleted",
            json!({"service_account_id": id, "user_id": 7, "public_id": id, "version": 2}),
        ),
    ] {
        let row = OutboxRow {
            event_id: uuid::Uuid::nil(),
            kind: kind.to_owned(),
            entity_id: id.to_owned(),
            data,
            occurred_at_unix: 1_790_000_000,
            occurred_at_rfc3339: "2026-09-21T14:13:20.000000Z".to_owned(),
        };
        if let Ok(event) = Event::from_outbox(row) {
            let subject = event.subject();
            assert_eq!(subject.split('.').nth(2), Some(id));
            assert_eq!(subject.split('.').count(), 4);
            assert!(
                subject.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
            );
        }
    }
});
