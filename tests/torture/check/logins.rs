//! A password and a name that have been acknowledged open a session, unless somebody was
//! changing them, or disabling the user, at that moment.

use std::collections::BTreeMap;

use super::findings::{Findings, micros};
use super::requests::Change;
use crate::history::{History, Operation, Outcome, Record};

/// What a login depends on.
#[derive(Default)]
struct Account<'a> {
    username: &'a str,
    password: u32,
    is_disabled: bool,
    is_deleted: bool,
    /// Whether nobody can say what it was.
    is_moot: bool,
}

/// Looks at each login that was refused.
pub(crate) fn compare(history: &History, changes: &[Change<'_>], findings: &mut Findings) {
    let mut by_user: BTreeMap<&str, Vec<&Record>> = BTreeMap::new();
    for change in changes {
        if let (Some(user), Some(record)) = (change.audit.id_of("user"), change.record) {
            by_user.entry(user).or_default().push(record);
        }
    }
    for record in &history.records {
        let (Operation::Login { user: Some(user), username, password }, Outcome::Refused(401, _)) =
            (&record.operation, &record.outcome)
        else {
            continue;
        };
        let mut account = Account::default();
        for change in by_user.get(user.as_str()).into_iter().flatten() {
            account.apply(change, record);
        }
        let is_right = (account.username, account.password) == (username, *password);
        if is_right && !account.is_disabled && !account.is_deleted && !account.is_moot {
            let at = history.started_at + micros(record.sent);
            let sentence = format!("{} was refused with the right password", record.request_id);
            findings.add_at(user, at, sentence);
        }
    }
}

impl<'a> Account<'a> {
    /// Does a change of the user, as far as it is one for the login.
    fn apply(&mut self, change: &'a Record, login: &Record) {
        if change.sent > login.answered {
            return;
        }
        let is_before = change.facts().is_some() && change.answered < login.sent;
        // Then so is every change that comes before it.
        self.is_moot &= !is_before;
        match &change.operation {
            Operation::CreateUser { username, password, .. } => {
                (self.username, self.password) = (username, *password);
            }
            Operation::UpdateUser { change, .. } => {
                if let Some(username) = &change.username {
                    self.username = username;
                } else if change.disabled.is_none() {
                    return;
                }
                self.is_disabled = change.disabled.unwrap_or(self.is_disabled);
            }
            Operation::ChangePassword { new: password, .. }
            | Operation::ResetPassword { password, .. } => self.password = *password,
            Operation::DeleteUser { .. } => self.is_deleted = true,
            _ => return,
        }
        self.is_moot |= !is_before;
    }
}
