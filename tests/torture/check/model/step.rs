//! One change that is done in the model.

use serde_json::{Value, json};

use super::{Explanation, Model};
use crate::check::evidence::OutboxRow;
use crate::check::findings::Findings;
use crate::check::requests::Change;
use crate::history::{Operation, Record, UserChange};

/// The change, and what it is done to.
pub(super) struct Step<'m, 'a> {
    pub(super) model: &'m mut Model<'a>,
    pub(super) findings: &'m mut Findings,
    /// Which change.
    pub(super) number: usize,
    /// Its transaction.
    pub(super) at: i64,
}

impl<'m, 'a> Step<'m, 'a> {
    pub(super) fn new(
        model: &'m mut Model<'a>,
        findings: &'m mut Findings,
        number: usize,
        change: &Change<'_>,
    ) -> Self {
        Self { model, findings, number, at: change.audit.occurred_at }
    }

    pub(super) fn apply(&mut self, change: &Change<'_>) {
        let Some(record) = change.record else {
            return self.create_default_user(change);
        };
        let made = |kind| change.audit.id_of(kind).unwrap_or_default();
        match &record.operation {
            Operation::Login { user, username, .. } => {
                self.log_in(made("session"), user.as_deref(), username, record);
            }
            Operation::Logout { session } => self.end_session(session, "logout"),
            Operation::EndSession { session, .. } => self.end_session(session, "revoked"),
            Operation::EndOtherSessions { user, kept } => {
                self.end_sessions(user, Some(kept), "revoked");
            }
            Operation::CreateUser { username, display_name, password } => {
                let data = json!({"username": username, "display_name": display_name});
                self.create_user(made("user"), &data, Some(*password), Some(record));
            }
            Operation::UpdateUser { user, change } => self.update_user(user, change, record),
            Operation::UpdateProfile { user, display_name } => {
                let display_name = Some(display_name.clone());
                let change = UserChange { display_name, ..UserChange::default() };
                self.update_user(user, &change, record);
            }
            Operation::ChangePassword { user, session, new, .. } => {
                self.set_password(user, *new, Some(session));
            }
            Operation::ResetPassword { user, password } => {
                self.set_password(user, *password, None);
            }
            Operation::DeleteUser { user } => self.delete_user(user),
            Operation::CreateAccount { owner, name, scopes } => {
                self.create_account(made("service_account"), owner, name, scopes, record);
            }
            Operation::SetScopes { account, scopes } => self.set_scopes(account, scopes, record),
            Operation::DeleteAccount { account } => self.delete_account(account),
            Operation::CreateToken { account, name } => {
                self.create_token(made("token"), account, name);
            }
            Operation::DeleteToken { token, .. } => self.delete_token(token),
            // It has been found that they change something.
            Operation::ReadUser { .. } | Operation::ReadOwn { .. } | Operation::FindUser { .. } => {
            }
        }
    }

    pub(super) fn find(&mut self, entity: &str, sentence: impl Into<String>) {
        self.findings.add_at(entity, self.at, sentence);
    }

    /// Takes the event of this change. It has to be there once.
    pub(super) fn claim(&mut self, kind: &str, entity: &str) -> Option<&'a OutboxRow> {
        let Some(place) = self.event(kind, entity) else {
            self.find(entity, format!("changed, and there is no {kind} of it in the outbox"));
            return None;
        };
        self.model.explained[place] = Some(Explanation::Change(self.number));
        Some(&self.model.outbox[place])
    }

    /// Whether its transaction has this event.
    pub(super) fn has_event(&self, kind: &str, entity: &str) -> bool {
        self.event(kind, entity).is_some()
    }

    /// The place of an event of its transaction that nothing has explained yet.
    fn event(&self, kind: &str, entity: &str) -> Option<usize> {
        let rows = self.model.transactions.get(&self.at).map_or(&[][..], Vec::as_slice);
        rows.iter().copied().find(|place| {
            let row = &self.model.outbox[*place];
            row.kind == kind && row.entity_id == entity && self.model.explained[*place].is_none()
        })
    }

    /// The same, which has to say this.
    pub(super) fn claim_saying(&mut self, kind: &str, entity: &str, wanted: &Value) {
        if let Some(row) = self.claim(kind, entity)
            && row.data != *wanted
        {
            self.find(entity, format!("{kind} says {}, not {wanted}", row.data));
        }
    }

    /// What the client was told about the version.
    pub(super) fn check_version(&mut self, entity: &str, version: i64, record: &Record) {
        let told = record.facts().map(|facts| facts.version);
        if told.is_some_and(|told| told != Some(version)) {
            self.find(entity, format!("the answer says version {told:?} instead of {version}"));
        }
    }
}
