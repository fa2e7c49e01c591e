//! What has to be there when exactly the changes happened that did happen: users,
//! sessions, service accounts and tokens, and the events of each change.

mod accounts;
mod sessions;
mod step;
mod users;

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::evidence::{Evidence, OutboxRow};
use super::findings::Findings;
use super::requests::Change;
use step::Step;

/// The state, and what has explained which event.
#[derive(Default)]
pub(crate) struct Model<'a> {
    pub(crate) users: BTreeMap<String, User>,
    pub(crate) sessions: BTreeMap<String, Session>,
    pub(crate) accounts: BTreeMap<String, Account>,
    pub(crate) tokens: BTreeMap<String, Token>,
    /// The change of each row of the outbox, in their order.
    pub(crate) explained: Vec<Option<Explanation>>,
    outbox: &'a [OutboxRow],
    /// The rows of the outbox by their transaction.
    transactions: BTreeMap<i64, Vec<usize>>,
    /// When housekeeping has ended a session, if it has.
    expiries: BTreeMap<&'a str, i64>,
}

/// Why there is an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Explanation {
    /// The change with this number.
    Change(usize),
    /// The time of a session was over.
    Expiry,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct User {
    pub(crate) id: i64,
    pub(crate) username: String,
    pub(crate) display_name: Option<String>,
    pub(crate) disabled: bool,
    pub(crate) version: i64,
    /// Its number, if a client has chosen it.
    pub(crate) password: Option<u32>,
    pub(crate) is_deleted: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Session {
    pub(crate) user: String,
    pub(crate) expires_at: i64,
    /// The number of the change that has opened it.
    pub(crate) opened_by: usize,
    pub(crate) ended_by: Option<Explanation>,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Account {
    pub(crate) owner: String,
    pub(crate) name: String,
    pub(crate) scopes: Value,
    pub(crate) version: i64,
    pub(crate) is_deleted: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Token {
    pub(crate) account: String,
    pub(crate) name: String,
    pub(crate) is_deleted: bool,
}

/// Does in the model what has happened, and looks for the events of each change.
pub(crate) fn replay<'a>(
    changes: &[Change<'_>],
    evidence: &'a Evidence,
    findings: &mut Findings,
) -> Model<'a> {
    let mut model = Model {
        explained: vec![None; evidence.outbox.len()],
        outbox: &evidence.outbox,
        ..Model::default()
    };
    for (place, row) in evidence.outbox.iter().enumerate() {
        model.transactions.entry(row.occurred_at).or_default().push(place);
        if is_expiry(row) {
            model.expiries.insert(&row.entity_id, row.occurred_at);
        }
    }
    for (number, change) in changes.iter().enumerate() {
        Step::new(&mut model, findings, number, change).apply(change);
    }
    model.expire();
    for (row, explanation) in evidence.outbox.iter().zip(&model.explained) {
        if explanation.is_none() {
            let sentence = format!("{} {} tells of what did not happen", row.kind, row.event_id);
            findings.add_at(&row.entity_id, row.occurred_at, sentence);
        }
    }
    model
}

impl Model<'_> {
    /// Housekeeping ends the sessions whose time is over.
    fn expire(&mut self) {
        for (row, explanation) in self.outbox.iter().zip(&mut self.explained) {
            if explanation.is_some() || !is_expiry(row) {
                continue;
            }
            let Some(session) = self.sessions.get_mut(&row.entity_id) else {
                continue;
            };
            let wanted = invalidated(&row.entity_id, session, &self.users, "expired");
            let is_over = session.expires_at.saturating_mul(1_000_000) <= row.occurred_at;
            if is_over && session.ended_by.is_none() && row.data == wanted {
                session.ended_by = Some(Explanation::Expiry);
                *explanation = Some(Explanation::Expiry);
            }
        }
    }
}

fn is_expiry(row: &OutboxRow) -> bool {
    row.kind == "SessionInvalidated" && row.data["reason"] == "expired"
}

/// What `SessionInvalidated` has to say.
fn invalidated(id: &str, session: &Session, users: &BTreeMap<String, User>, reason: &str) -> Value {
    let user_id = users.get(&session.user).map(|user| user.id);
    json!({"session_id": id, "user_id": user_id, "public_id": session.user, "reason": reason})
}
