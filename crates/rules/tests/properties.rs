//! What holds of the rules whatever comes in.

use std::collections::BTreeMap;
use std::time::Duration;

use edd_auth_rules::scope::{Catalog, Scopes};
use edd_auth_rules::{go_duration, public_id, text};
use proptest::prelude::*;
use serde_json::json;

/// The units of Go, in nanoseconds.
const UNITS: [(&str, u128); 8] = [
    ("ns", 1),
    ("us", 1_000),
    ("µs", 1_000),
    ("μs", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
];

/// A number with its unit, and how many nanoseconds that is.
fn a_part() -> impl Strategy<Value = (String, u128)> {
    let number = ("[0-9]{0,6}", prop::option::of("[0-9]{0,16}"));
    let number = number.prop_filter("a digit", |(whole, fraction)| {
        !whole.is_empty() || fraction.as_ref().is_some_and(|digits| !digits.is_empty())
    });
    (number, prop::sample::select(&UNITS[..])).prop_map(|((whole, fraction), (unit, ns))| {
        let point = if fraction.is_some() { "." } else { "" };
        let fraction = fraction.unwrap_or_default();
        // As a fraction of integers, where the parser goes through the digits.
        let scale = 10_u128.pow(u32::try_from(fraction.len()).expect("few digits"));
        let scaled: u128 = format!("0{whole}{fraction}").parse().expect("digits");
        (format!("{whole}{point}{fraction}{unit}"), scaled * ns / scale)
    })
}

proptest! {
    #[test]
    fn a_duration_is_the_sum_of_its_parts(parts in prop::collection::vec(a_part(), 1..4)) {
        let text: String = parts.iter().map(|(text, _)| text.as_str()).collect();
        let ns: u128 = parts.iter().map(|(_, ns)| ns).sum();
        let expected = i64::try_from(ns).ok().filter(|ns| *ns > 0);
        let expected = expected.map(|ns| Duration::from_nanos(ns.unsigned_abs()));
        prop_assert_eq!(go_duration::parse(&text).ok(), expected, "{}", text);
    }

    #[test]
    fn every_duration_can_be_written(ns in 1..=i64::MAX) {
        let ns = ns.unsigned_abs();
        let (h, m, s) = (ns / 3_600_000_000_000, ns / 60_000_000_000 % 60, ns / 1_000_000_000 % 60);
        let text = format!("{h}h{m}m{s}.{:09}s", ns % 1_000_000_000);
        prop_assert_eq!(go_duration::parse(&text), Ok(Duration::from_nanos(ns)), "{}", text);
    }

    #[test]
    fn nothing_but_digits_points_and_units_is_a_duration(
        text in "[0-9]{1,2}[a-z .,:+-]{1,3}|[0-9.]{0,4}|.{0,8}",
    ) {
        if go_duration::parse(&text).is_ok() {
            let rest = text.strip_prefix('+').unwrap_or(&text);
            let of_go = |c: char| c.is_ascii_digit() || ".nuµμmsh".contains(c);
            let ends = UNITS.iter().any(|(unit, _)| rest.ends_with(unit));
            prop_assert!(ends && rest.chars().all(of_go), "{}", text);
        }
    }
}

/// The scopes of one scope.
fn one(scope: &str, actions: &[&str]) -> Scopes {
    serde_json::from_value(json!({scope: actions})).expect("scopes")
}

const SEGMENT: &str = "[0-9A-Za-z_-]{1,64}";

proptest! {
    #[test]
    fn a_scope_of_the_right_form_passes(
        owner in "[0-9A-Za-z]{6}",
        root in SEGMENT,
        rest in prop::collection::vec(SEGMENT, 0..3),
        actions in prop::collection::hash_set(SEGMENT, 1..5),
    ) {
        let mut segments = vec![root, owner.clone()];
        segments.extend(rest);
        let actions: Vec<&str> = actions.iter().map(String::as_str).collect();
        prop_assert_eq!(one(&segments.join("."), &actions).check(&owner, None), Ok(()));
    }

    #[test]
    fn a_scope_that_passes_is_no_wildcard_and_nobody_elses(
        scope in "(sfs|[a-z*>]{0,3})[.]{0,2}(a1B2c3|[a1B2c3]{6}|[*>])([.][a-z*> \u{0}.]{0,4}){0,3}",
        action in "[a-z*>. ]{0,4}",
    ) {
        if one(&scope, &[&action]).check("a1B2c3", None).is_ok() {
            let segments: Vec<&str> = scope.split('.').collect();
            prop_assert_eq!(segments[1], "a1B2c3");
            prop_assert!((2..=4).contains(&segments.len()), "{}", scope);
            for text in segments.into_iter().chain([action.as_str()]) {
                prop_assert!(!text.is_empty() && !text.contains(['*', '>', '.', ' ', '\0']), "{}", text);
            }
        }
    }

    #[test]
    fn one_character_more_makes_a_scope_of_another_form(
        place in any::<prop::sample::Index>(),
        odd in any::<char>(),
    ) {
        prop_assume!(!odd.is_ascii_alphanumeric() && !"-_".contains(odd));
        let mut scope = "sfs.a1B2c3.files.7".to_owned();
        scope.insert(place.index(scope.len() + 1), odd);
        let refusal = one(&scope, &["read"]).check("a1B2c3", None).expect_err("refused");
        let text = refusal.to_string();
        prop_assert!(text.len() < 400 && !text.contains(char::is_control), "{}", text);
    }

    #[test]
    fn a_catalogue_allows_what_it_lists_and_no_more(
        root in prop::collection::vec("[a-c]", 0..3),
        resources in prop::collection::btree_map("[x-z]", prop::collection::vec("[a-c]", 0..3), 0..3),
        resource in prop::option::of("[x-z]"),
        action in "[a-c]",
    ) {
        let text = json!({"sfs": {"actions": root, "resources": resources}}).to_string();
        let catalog = Catalog::parse(&text).expect("a catalogue").expect("one");
        let nothing = Vec::new();
        let (scope, listed) = match &resource {
            None => ("sfs.a1B2c3".to_owned(), &root),
            Some(name) => (format!("sfs.a1B2c3.{name}.7"), resources.get(name).unwrap_or(&nothing)),
        };
        let allowed = one(&scope, &[&action]).check("a1B2c3", Some(&catalog)).is_ok();
        prop_assert_eq!(allowed, listed.contains(&action), "{} of {}", scope, text);
    }

    #[test]
    fn scopes_come_out_as_they_went_in(
        scopes in prop::collection::btree_map(".{0,9}", prop::collection::vec(".{0,5}", 0..3), 0..4),
        again: bool,
    ) {
        let written = serde_json::to_string(&scopes).expect("JSON");
        let read: Scopes = serde_json::from_str(&written).expect("scopes");
        prop_assert_eq!(read.actions(), &scopes as &BTreeMap<String, Vec<String>>);
        // A scope that stands there twice is refused, whatever its actions.
        if let (true, Some((scope, actions))) = (again, scopes.first_key_value()) {
            let pair = format!("{}:{}", json!(scope), json!(actions));
            let twice = format!("{{{pair},{pair}}}");
            prop_assert!(serde_json::from_str::<Scopes>(&twice).is_err(), "{}", twice);
        }
    }
}

proptest! {
    #[test]
    fn a_label_that_passes_can_be_seen_and_stored(label in "\\PC{0,4}|.{0,3}|[ aZ9~\u{c0}\u{24f}\u{4e00}\u{9fff}]{1,4}|[ \u{a0}\u{3000}a\n\u{0}\u{85}]{1,4}") {
        let passes = text::check_label(&label).is_ok();
        let seen = label.chars().any(|c| !c.is_whitespace());
        let unseen = ['\u{ad}', '\u{200b}', '\u{202e}', '\u{2066}', '\u{feff}', '\u{e0041}'];
        let clean = !label.contains(char::is_control) && !label.contains(unseen);
        let bare = label.chars().next().zip(label.chars().last());
        let bare = bare.is_some_and(|(a, z)| !a.is_whitespace() && !z.is_whitespace());
        prop_assert!(!passes || (seen && clean && bare), "{:?}", label);
        // Unicode has more that can't be seen than the list above, and more comes with each
        // version: what certainly can be seen passes.
        let certain = |c: char| {
            c.is_ascii_graphic() || matches!(c, ' ' | '\u{c0}'..='\u{24f}' | '\u{4e00}'..='\u{9fff}')
        };
        let shown = bare && label.chars().all(certain);
        prop_assert!(passes || !shown, "{:?}", label);
    }

    #[test]
    fn lengths_are_counted_in_characters(character in "[aä\u{10348}]", length in 0_usize..300) {
        let text = character.repeat(length);
        prop_assert_eq!(text::check_label(&text).is_ok(), (1..=100).contains(&length));
        prop_assert_eq!(text::check_display_name(&text).is_ok(), length <= 256);
    }
}

#[test]
fn every_letter_of_the_alphabet_is_used_and_no_place_prefers_one() {
    let ids: Vec<Vec<char>> =
        (0..20_000).map(|_| public_id::generate().chars().collect()).collect();
    let mut counts: BTreeMap<(usize, char), u32> = BTreeMap::new();
    for id in &ids {
        for (place, letter) in id.iter().enumerate() {
            *counts.entry((place, *letter)).or_default() += 1;
        }
    }
    // 323 each on average, and 18 the standard deviation: eight of them either way.
    assert_eq!(counts.len(), public_id::LENGTH * public_id::ALPHABET.len());
    assert!(counts.values().all(|count| (179..467).contains(count)), "{counts:?}");
}
