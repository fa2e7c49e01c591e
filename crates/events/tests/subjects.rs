//! No id can make a subject of more tokens than it should have, or of wildcards.

use edd_auth_events::{Event, Kind, OutboxRow, RowError};
use proptest::prelude::*;
use serde_json::{Value, json};

/// A row about the entity with this id.
fn row(kind: Kind, id: &str) -> OutboxRow {
    let data = match kind {
        Kind::UserCreated | Kind::UserUpdated => {
            json!({"user_id": 7, "public_id": id, "username": "ada", "display_name": null, "version": 1})
        }
        Kind::UserDeleted => {
            json!({"user_id": 7, "public_id": id, "username": "ada", "version": 2})
        }
        Kind::SessionCreated => {
            json!({"session_id": id, "user_id": 7, "public_id": "a1B2c3", "expires_at": 1_790_086_400})
        }
        Kind::SessionInvalidated => {
            json!({"session_id": id, "user_id": 7, "public_id": "a1B2c3", "reason": "logout"})
        }
        Kind::IdentityPermissionsUpdated => {
            json!({"service_account_id": id, "user_id": 7, "public_id": "a1B2c3",
                   "scopes": {}, "version": 1})
        }
        Kind::IdentityPermissionsDeleted => {
            json!({"service_account_id": id, "user_id": 7, "public_id": "a1B2c3", "version": 2})
        }
    };
    OutboxRow {
        event_id: uuid::Uuid::nil(),
        kind: kind.to_string(),
        entity_id: id.to_owned(),
        data,
        occurred_at_unix: 1_790_000_000,
        occurred_at_rfc3339: "2026-09-21T14:13:20.000000Z".to_owned(),
    }
}

fn is_about_a_session(kind: Kind) -> bool {
    kind.entity() == "session"
}

fn a_kind() -> impl Strategy<Value = Kind> {
    prop::sample::select(&Kind::ALL[..])
}

/// An id as this service makes them, of a user, a service account or a session.
fn an_id() -> impl Strategy<Value = String> {
    let session = any::<u128>().prop_map(|id| uuid::Uuid::from_u128(id).to_string());
    prop_oneof!["[0-9A-Za-z]{6}", "[0-9A-Za-z]{12}", session]
}

proptest! {
    #[test]
    fn the_id_is_one_token_of_four(kind in a_kind(), id in an_id()) {
        match Event::from_outbox(row(kind, &id)) {
            Ok(event) => {
                let subject = event.subject();
                let tokens: Vec<&str> = subject.split('.').collect();
                prop_assert_eq!(&tokens[..3], &["auth", kind.entity(), id.as_str()]);
                prop_assert_eq!(tokens.len(), 4);
            }
            Err(error) => {
                // Ids of the others are no session's.
                let wrong_sort = is_about_a_session(kind) && id.len() != 36;
                prop_assert!(wrong_sort, "{}: {}", id, error);
            }
        }
    }

    #[test]
    fn an_id_with_a_character_that_means_something_is_refused(
        kind in a_kind(),
        id in an_id(),
        place in any::<prop::sample::Index>(),
        attack in "[.*> \t\r\n\u{0}\u{7f}\u{85}\u{a0}\u{2028}\u{202e}\u{feff}$/\\\\]|\\PC",
    ) {
        prop_assume!(!attack.chars().all(|c| c.is_ascii_alphanumeric() || "-_".contains(c)));
        let mut attacked = id;
        attacked.insert_str(place.index(attacked.len() + 1), &attack);
        match Event::from_outbox(row(kind, &attacked)) {
            Err(RowError::Subject(refused)) => prop_assert_eq!(refused, attacked),
            // What is no UUID does not even get that far.
            Err(RowError::Data(..)) => prop_assert!(is_about_a_session(kind)),
            other => prop_assert!(false, "{:?}: {:?}", attacked, other),
        }
    }

    #[test]
    fn whatever_the_id_a_subject_is_four_plain_tokens(
        kind in a_kind(),
        id in prop_oneof![any::<String>(), "[a-c.*> ]{0,3}"],
    ) {
        if let Ok(event) = Event::from_outbox(row(kind, &id)) {
            let subject = event.subject();
            let plain = |token: &str| {
                !token.is_empty() && token.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b))
            };
            prop_assert!(subject.split('.').count() == 4 && subject.split('.').all(plain), "{}", subject);
        }
    }
}

#[test]
fn a_session_has_one_spelling() {
    let id = uuid::Uuid::from_u128(0x0198_1f5e_7b5a_7c3d_8e4f_5a6b_7c8d_9e0f);
    for spelling in [
        id.simple().to_string(),
        id.braced().to_string(),
        id.urn().to_string(),
        id.to_string().to_uppercase(),
    ] {
        let refused = Event::from_outbox(row(Kind::SessionCreated, &spelling));
        assert!(matches!(refused, Err(RowError::EntityMismatch { .. })), "{spelling}: {refused:?}");
    }
}

/// The other texts of an event may be anything: they stand in its payload only.
#[test]
fn a_name_reaches_the_payload_and_no_subject() {
    let mut row = row(Kind::UserCreated, "a1B2c3");
    row.data["username"] = json!("a.*.> b\u{202e}");
    let event = Event::from_outbox(row).expect("the row fits");
    assert_eq!(event.subject(), "auth.user.a1B2c3.created");
    let payload: Value = serde_json::from_slice(&event.payload().expect("JSON")).expect("JSON");
    assert_eq!(payload["username"], "a.*.> b\u{202e}");
}
