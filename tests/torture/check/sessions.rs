//! Sessions against what clients have done with them: one that has ended opens nothing,
//! and one that lives is not refused.

use super::findings::{Findings, micros};
use super::model::{Explanation, Model, Session};
use super::requests::Change;
use crate::history::{History, Operation, Outcome, Record};

/// Looks at each request with a session.
pub(crate) fn compare(
    history: &History,
    changes: &[Change<'_>],
    model: &Model<'_>,
    findings: &mut Findings,
) {
    for record in &history.records {
        let Some((id, session)) =
            session_of(&record.operation).and_then(|id| model.sessions.get_key_value(id))
        else {
            continue;
        };
        let opened = changes[session.opened_by].record;
        let sentence = match (&record.outcome, session.ended_by) {
            (Outcome::Acknowledged(_), Some(Explanation::Change(number)))
                if changes[number].record.is_some_and(|end| is_known(end, record)) =>
            {
                "opened something after its end"
            }
            (Outcome::Refused(401, _), ended_by)
                if opened.is_some_and(|opened| is_known(opened, record))
                    && history.started_at + micros(record.answered) < expires(session)
                    && lives(ended_by, changes, record) =>
            {
                "was refused while it lived"
            }
            _ => continue,
        };
        let at = history.started_at + micros(record.sent);
        findings.add_at(id, at, format!("{sentence}, in {}", record.request_id));
    }
}

/// The session with which something is asked.
fn session_of(operation: &Operation) -> Option<&str> {
    match operation {
        Operation::ReadOwn { session }
        | Operation::Logout { session }
        | Operation::EndSession { session, by_admin: false }
        | Operation::ChangePassword { session, .. }
        | Operation::EndOtherSessions { kept: session, .. } => Some(session),
        _ => None,
    }
}

/// When the session ends by itself, in microseconds since 1970.
const fn expires(session: &Session) -> i64 {
    session.expires_at.saturating_mul(1_000_000)
}

/// Whether a change was acknowledged before the request was sent.
fn is_known(change: &Record, request: &Record) -> bool {
    change.facts().is_some() && change.answered < request.sent
}

/// Whether nobody had asked for the session's end before the request was answered.
fn lives(ended_by: Option<Explanation>, changes: &[Change<'_>], request: &Record) -> bool {
    match ended_by {
        None => true,
        Some(Explanation::Expiry) => false,
        Some(Explanation::Change(number)) => {
            changes[number].record.is_some_and(|end| end.sent > request.answered)
        }
    }
}
