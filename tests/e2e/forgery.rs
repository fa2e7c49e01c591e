//! Tokens that look like this service's and are not.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey, crypto};
use serde_json::{Value, json};

use crate::harness::JWT_SECRET;

/// A real token taken apart, to be changed in one place and put together again: what is
/// refused then is refused for that one difference.
#[derive(Clone)]
pub(crate) struct Forgery {
    header: Value,
    claims: Value,
}

impl Forgery {
    /// A copy of a token.
    pub(crate) fn of(token: &str) -> Self {
        let part = |place: usize| {
            let text = token.split('.').nth(place).expect("three parts");
            let json = URL_SAFE_NO_PAD.decode(text).expect("base64url");
            serde_json::from_slice(&json).expect("JSON")
        };
        Self { header: part(0), claims: part(1) }
    }

    /// A claim of the token.
    pub(crate) fn get(&self, claim: &str) -> &Value {
        &self.claims[claim]
    }

    /// With another value of a claim.
    pub(crate) fn claim(&self, name: &str, value: Value) -> Self {
        let mut changed = self.clone();
        changed.claims[name] = value;
        changed
    }

    /// Without a claim.
    pub(crate) fn without(&self, name: &str) -> Self {
        let mut changed = self.clone();
        changed.claims.as_object_mut().expect("an object").remove(name);
        changed
    }

    /// With another value of a member of the header.
    pub(crate) fn header(&self, name: &str, value: Value) -> Self {
        let mut changed = self.clone();
        changed.header[name] = value;
        changed
    }

    /// Without a member of the header.
    pub(crate) fn without_header(&self, name: &str) -> Self {
        let mut changed = self.clone();
        changed.header.as_object_mut().expect("an object").remove(name);
        changed
    }

    /// Signed as this service does it, with its own secret.
    pub(crate) fn signed(&self) -> String {
        self.signed_with(Algorithm::HS256, JWT_SECRET.as_bytes())
    }

    /// Signed with HMAC under any key, whatever the header says of the algorithm.
    pub(crate) fn signed_with(&self, hmac: Algorithm, key: &[u8]) -> String {
        let message = self.message();
        let key = EncodingKey::from_secret(key);
        let signature = crypto::sign(message.as_bytes(), &key, hmac).expect("signed");
        format!("{message}.{signature}")
    }

    /// As an algorithm of this name, with the length of hash that its name ends with.
    pub(crate) fn under(&self, name: &str, key: &[u8]) -> String {
        let hmac = match name.get(2..) {
            Some("384") => Algorithm::HS384,
            Some("512") => Algorithm::HS512,
            _ => Algorithm::HS256,
        };
        self.header("alg", json!(name)).signed_with(hmac, key)
    }

    /// With an empty signature.
    pub(crate) fn unsigned(&self) -> String {
        format!("{}.", self.message())
    }

    fn message(&self) -> String {
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        format!("{}.{}", part(&self.header), part(&self.claims))
    }
}
