//! Sessions: each is opened once and ends once, and both are announced.

use serde_json::json;

use super::step::Step;
use super::{Explanation, Session, User, invalidated};
use crate::history::Record;

/// How long a change may have waited for locks, in microseconds.
const WAITED: i64 = 60_000_000;

impl Step<'_, '_> {
    /// Of a user who is known by its public id, or else by its name.
    pub(super) fn log_in(
        &mut self,
        id: &str,
        user_id: Option<&str>,
        username: &str,
        record: &Record,
    ) {
        let is_named = |user: &User| !user.is_deleted && user.username == username;
        let of_name = || self.model.users.iter().find(|(_, user)| is_named(user));
        let user_id = user_id.or_else(|| Some(of_name()?.0)).unwrap_or_default().to_owned();
        let row = self.claim("SessionCreated", id);
        let said = row.map(|row| row.data.clone()).unwrap_or_default();
        let Some(user) = self.user(&user_id) else {
            return;
        };
        let expires_at = said["expires_at"].as_i64().unwrap_or_default();
        let wanted = json!({
            "session_id": id, "user_id": user.id, "public_id": user_id,
            "expires_at": expires_at});
        if row.is_some() && said != wanted {
            self.find(id, format!("SessionCreated says {said}, not {wanted}"));
        }
        if user.disabled {
            self.find(id, "was opened while its user was disabled");
        }
        if let Some(facts) = record.facts()
            && facts.expires_at != Some(expires_at)
        {
            self.find(id, format!("the token ends at {:?}, not {expires_at}", facts.expires_at));
        }
        let session = Session { user: user_id, expires_at, opened_by: self.number, ended_by: None };
        if self.model.sessions.insert(id.to_owned(), session).is_some() {
            self.find(id, "was opened twice");
        }
    }

    pub(super) fn end_session(&mut self, id: &str, reason: &str) {
        let session = self.model.sessions.get_mut(id);
        let Some(session) = session.filter(|session| session.ended_by.is_none()) else {
            return self.find(id, "ended while it was not there");
        };
        session.ended_by = Some(Explanation::Change(self.number));
        let wanted = invalidated(id, session, &self.model.users, reason);
        self.claim_saying("SessionInvalidated", id, &wanted);
    }

    /// Every session of a user but one.
    pub(super) fn end_sessions(&mut self, user: &str, kept: Option<&str>, reason: &str) {
        let is_meant = |(id, session): &(&String, &Session)| {
            session.user == user
                && session.ended_by.is_none()
                && Some(id.as_str()) != kept
                && !self.has_expired(id)
        };
        let sessions = self.model.sessions.iter().filter(is_meant);
        let ids: Vec<String> = sessions.map(|(id, _)| id.clone()).collect();
        for id in ids {
            self.end_session(&id, reason);
        }
    }

    /// Whether housekeeping was faster. This change may have waited for locks since its
    /// transaction began.
    fn has_expired(&self, session: &str) -> bool {
        let latest = self.at.saturating_add(WAITED);
        self.model.expiries.get(session).is_some_and(|at| *at < latest)
            && !self.has_event("SessionInvalidated", session)
    }
}
