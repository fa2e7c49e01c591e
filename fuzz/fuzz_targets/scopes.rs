//! Scopes and their catalogue: scopes in JSON, a line feed, and the catalogue.

#![no_main]

use edd_auth_rules::scope::{Catalog, Scopes};
use libfuzzer_sys::fuzz_target;

const OWNER: &str = "a1B2c3";

fuzz_target!(|text: &str| {
    let (scopes, catalog) = text.split_once('\n').unwrap_or((text, ""));
    let catalog = Catalog::parse(catalog);
    let Ok(scopes) = serde_json::from_str::<Scopes>(scopes) else {
        return;
    };
    if let Err(refusal) = scopes.check(OWNER, None) {
        assert!(refusal.to_string().len() < 1_000);
        assert!(catalog.is_err() || scopes.check(OWNER, catalog.unwrap().as_ref()).is_err());
        return;
    }
    for (scope, actions) in scopes.actions() {
        assert_eq!(scope.split('.').nth(1), Some(OWNER));
        for text in scope.split('.').chain(actions.iter().map(String::as_str)) {
            assert!(text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte)));
        }
    }
});
