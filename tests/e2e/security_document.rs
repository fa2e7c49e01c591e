//! `docs/security.md` and `docs/reliability.md` say what the sources say.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

const DOCUMENT: &str = include_str!("../../docs/security.md");

const RELIABILITY: &str = include_str!("../../docs/reliability.md");

/// What stands between backquotes, outside of blocks of text.
fn code_spans(document: &'static str) -> Vec<&'static str> {
    let lines = document.lines().scan(false, |in_block, line| {
        *in_block ^= line.starts_with("```");
        Some(if *in_block { "" } else { line })
    });
    lines.flat_map(|line| line.split('`').skip(1).step_by(2)).collect()
}

/// The file that a name means: from the root, or from the end-to-end tests.
fn file(name: &str) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    if name.contains('/') || root.join(name).is_file() {
        root.join(name)
    } else {
        root.join("tests/e2e").join(name)
    }
}

/// Whether the file has a test of this name, which runs.
fn has_test(file: &Path, name: &str) -> bool {
    let source = std::fs::read_to_string(file).unwrap_or_default();
    let lines: Vec<&str> = source.lines().map(str::trim).collect();
    let signature = format!("fn {name}() {{");
    lines.iter().enumerate().any(|(place, line)| {
        line.strip_prefix("async ").unwrap_or(line) == signature
            && lines[..place]
                .iter()
                .rev()
                .take_while(|line| line.starts_with("#["))
                .any(|line| line.starts_with("#[test]") || line.starts_with("#[tokio::test"))
    })
}

#[test]
fn every_test_and_file_that_they_name_exists() {
    let mut tests = 0;
    let mut missing = Vec::new();
    for span in [DOCUMENT, RELIABILITY].into_iter().flat_map(code_spans) {
        if let Some((name, test)) = span.split_once(".rs::") {
            tests += 1;
            if !has_test(&file(&format!("{name}.rs")), test) {
                missing.push(span);
            }
        } else if [".rs", ".md", ".sql", ".toml", ".yaml"].iter().any(|end| span.ends_with(end))
            && !file(span).is_file()
        {
            missing.push(span);
        }
    }
    assert!(missing.is_empty(), "{missing:#?}");
    assert!(tests > 100, "{tests}");
}

#[test]
fn every_requirement_has_one_row_and_one_state_and_what_is_met_is_shown() {
    let mut seen = BTreeSet::new();
    for line in DOCUMENT.lines() {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let ["", ids, level, asks, state, shown, ""] = cells.as_slice() else {
            continue;
        };
        if !ids.starts_with(|first: char| first.is_ascii_digit()) {
            continue;
        }
        for id in ids.split(", ") {
            assert!(seen.insert(id), "{id} stands there twice");
        }
        assert!(matches!(*level, "1" | "2"), "{line}");
        assert!(matches!(*state, "met" | "not met" | "not applicable"), "{line}");
        assert!(!asks.is_empty() && !shown.is_empty(), "{line}");
        let is_shown = shown.contains('`') || shown.contains(" above");
        assert!(*state != "met" || is_shown, "{line}");
    }
    assert!(seen.len() > 120, "{}", seen.len());
}

#[test]
fn every_known_attack_is_in_it() {
    let attacks = include_str!("known_attacks.rs");
    let of_source = attacks
        .lines()
        .filter_map(|line| line.strip_prefix("async fn ")?.strip_suffix("() {").map(str::to_owned));
    let named: BTreeSet<&str> = code_spans(DOCUMENT)
        .into_iter()
        .filter_map(|span| span.strip_prefix("known_attacks.rs::"))
        .collect();
    for attack in of_source {
        assert!(named.contains(attack.as_str()), "{attack}");
    }
    assert_eq!(named.len(), 16);
}
