//! A checker that finds nothing is worth nothing: in a story in which nothing is wrong it
//! finds nothing, and each thing that goes wrong in it is found.

mod corruptions;
mod story;

use super::judge;
use story::Story;

/// Tells the story, lets something go wrong in it, and sees to it that this is found: as
/// a violation that begins with one of the entity, has this text, and has a trace.
#[track_caller]
fn assert_found(entity: &str, sentence: &str, go_wrong: impl FnOnce(&mut Story)) {
    let mut story = Story::tell();
    go_wrong(&mut story);
    let report = judge(&story.history, &story.evidence);
    let found = report.violations.iter().find(|violation| {
        violation.sentence.starts_with(&format!("{entity}: "))
            && violation.sentence.contains(sentence)
    });
    let all: Vec<String> = report.violations.iter().map(ToString::to_string).collect();
    let found = found.unwrap_or_else(|| panic!("not found, but:\n{}", all.join("\n")));
    assert!(!found.trace.is_empty(), "{found}");
}

#[test]
fn in_a_good_story_nothing_is_found() {
    let story = Story::tell();
    let report = judge(&story.history, &story.evidence);
    let violations: Vec<String> = report.violations.iter().map(ToString::to_string).collect();
    assert!(violations.is_empty(), "{}", violations.join("\n"));
    assert_eq!(report.requests, story.history.records.len());
    assert_eq!(report.events, story.evidence.outbox.len());
    assert_eq!((report.refused, report.unknown_happened, report.unknown_did_not), (7, 1, 1));
    assert_eq!(report.acknowledged, report.requests - 9);
}

#[test]
fn a_trace_has_what_all_histories_know_of_the_entity_and_nothing_else() {
    let mut story = Story::tell();
    story.evidence.stream.retain(|message| message.subject != "auth.session.s1.invalidated");
    let report = judge(&story.history, &story.evidence);
    let violation = &report.violations[0];
    assert!(violation.sentence.starts_with("s1: SessionInvalidated"), "{violation}");
    let kinds: Vec<&str> = violation
        .trace
        .iter()
        .map(|line| line.split_whitespace().nth(1).expect("a kind"))
        .collect();
    let login = ["client", "audit_log", "outbox", "stream"];
    let logout_and_try = ["client", "audit_log", "outbox", "client"];
    assert_eq!(kinds, [login, logout_and_try].concat(), "{violation}");
    assert!(violation.trace[0].starts_with('+'), "{violation}");
}

#[test]
fn of_very_many_violations_the_first_have_traces() {
    let mut story = Story::tell();
    story.evidence.stream.clear();
    let report = judge(&story.history, &story.evidence);
    assert!(report.violations.len() > story.evidence.outbox.len());
    assert!(!report.violations[0].trace.is_empty());
    assert!(report.violations.last().is_some_and(|last| last.trace.is_empty()));
}
