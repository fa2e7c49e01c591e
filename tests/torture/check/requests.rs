//! What clients were told against the audit log: a request that was done has one row
//! that says so, one that was refused has none, and one whose answer was lost has at
//! most one.

use std::collections::{BTreeMap, BTreeSet};

use super::evidence::{AuditRow, Evidence};
use super::findings::Findings;
use crate::history::{History, Outcome, Record};

/// Something that happened.
pub(crate) struct Change<'a> {
    /// The row that says so.
    pub(crate) audit: &'a AuditRow,
    /// The request; none when the service did it by itself.
    pub(crate) record: Option<&'a Record>,
}

/// What came of the requests.
#[derive(Default)]
pub(crate) struct Told<'a> {
    /// What happened, in the order of the audit log. That is the order of the changes of
    /// each entity: who writes a row has the lock on the entity.
    pub(crate) changes: Vec<Change<'a>>,
    pub(crate) acknowledged: usize,
    pub(crate) refused: usize,
    pub(crate) unknown_happened: usize,
    pub(crate) unknown_did_not: usize,
}

/// Finds the rows of each request, and the request of each row.
pub(crate) fn compare<'a>(
    history: &'a History,
    evidence: &'a Evidence,
    findings: &mut Findings,
) -> Told<'a> {
    let mut successes: BTreeMap<&str, Vec<&AuditRow>> = BTreeMap::new();
    for row in evidence.audit.iter().filter(|row| row.is_success()) {
        if let Some(id) = &row.request_id {
            successes.entry(id).or_default().push(row);
        }
    }
    let mut told = Told::default();
    let mut records = BTreeMap::new();
    for record in &history.records {
        let rows = successes.get(record.request_id.as_str()).map_or(&[][..], Vec::as_slice);
        check_record(record, rows, &mut told, findings);
        if records.insert(record.request_id.as_str(), record).is_some() {
            findings.add(&record.request_id, "two requests have this id");
        }
    }
    let mut seen = BTreeSet::new();
    for audit in evidence.audit.iter().filter(|row| row.is_success()) {
        let record = audit.request_id.as_deref().and_then(|id| records.get(id).copied());
        if record.is_none() && !is_default_user(audit) {
            let resource = audit.resource.as_deref().and_then(|resource| resource.split_once(':'));
            let id = audit.request_id.as_deref().or(resource.unzip().1).unwrap_or_default();
            findings.add(id, format!("{} happened, and nobody asked for it", audit.action));
        }
        // A second row of a request has been found above.
        if record.is_none_or(|record| seen.insert(record.request_id.as_str())) {
            told.changes.push(Change { audit, record });
        }
    }
    told
}

/// The default user comes into being without a request.
fn is_default_user(row: &AuditRow) -> bool {
    row.action == "user.create" && row.request_id.is_none() && row.actor.is_none()
}

fn check_record(record: &Record, rows: &[&AuditRow], told: &mut Told<'_>, findings: &mut Findings) {
    let id = &record.request_id;
    match (&record.outcome, rows.first()) {
        (Outcome::Acknowledged(_), row) => {
            told.acknowledged += 1;
            if row.is_none() && record.operation.action().is_some() {
                findings.add(id, "acknowledged, and the audit log has no row of it");
            }
        }
        (Outcome::Refused(status, code), row) => {
            told.refused += 1;
            if row.is_some() {
                findings.add(id, format!("refused ({status} {code}), and it happened"));
            }
        }
        (Outcome::Unknown(_), Some(_)) => told.unknown_happened += 1,
        (Outcome::Unknown(_), None) => told.unknown_did_not += 1,
    }
    if rows.len() > 1 {
        findings.add(id, format!("happened {} times", rows.len()));
    }
    for row in rows {
        if record.operation.action() != Some(row.action.as_str()) {
            findings.add(id, format!("{} happened instead", row.action));
        }
        let wanted = record.operation.resource(record.facts());
        // What is made has its name from the answer, which a lost one does not tell.
        let is_known = wanted.is_some() || record.facts().is_some();
        if is_known && wanted != row.resource {
            findings.add(id, format!("happened to {:?}, not to {wanted:?}", row.resource));
        }
    }
}
