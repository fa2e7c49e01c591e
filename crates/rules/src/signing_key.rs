//! Private keys that sign tokens, so that whoever has the public key can verify
//! them and nobody else can make them.

use jsonwebtoken::jwk::{Jwk, PublicKeyUse, ThumbprintHash};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey};

/// A private key, for the one algorithm that goes with it. `Debug` shows nothing
/// of it.
pub struct SigningKey {
    algorithm: Algorithm,
    private: EncodingKey,
    public: DecodingKey,
    jwk: Jwk,
}

impl std::fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SigningKey(…)")
    }
}

impl SigningKey {
    /// Reads a key in PEM, PKCS#8 (RFC 5958): Ed25519 (RFC 8410) signs with
    /// `EdDSA`, P-256 with ES256. Its line feeds may be written as `\n`, since an
    /// environment file has a line for a variable.
    ///
    /// # Errors
    ///
    /// A predicate of the setting's name that quotes nothing of the key.
    pub fn parse(pem: &str) -> Result<Self, String> {
        let pem = pem.replace("\\n", "\n");
        let read = |algorithm, private: Result<EncodingKey, jsonwebtoken::errors::Error>| {
            let private = private.ok()?;
            let mut jwk = Jwk::from_encoding_key(&private, algorithm).ok()?;
            let public = DecodingKey::from_jwk(&jwk).ok()?;
            jwk.common.public_key_use = Some(PublicKeyUse::Signature);
            jwk.common.key_id = Some(jwk.thumbprint(ThumbprintHash::SHA256).ok()?);
            Some(Self { algorithm, private, public, jwk })
        };
        read(Algorithm::EdDSA, EncodingKey::from_ed_pem(pem.as_bytes()))
            .or_else(|| read(Algorithm::ES256, EncodingKey::from_ec_pem(pem.as_bytes())))
            .ok_or_else(|| {
                "is no private key of Ed25519 or P-256 in PEM (PKCS#8), as \
                 `openssl genpkey -algorithm ed25519` writes one"
                    .to_owned()
            })
    }

    /// The algorithm that this key signs with.
    #[must_use]
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The `kid` of tokens that this key signs: the thumbprint of the public key
    /// (RFC 7638), so that it names the key whatever the order of keys.
    #[must_use]
    pub fn id(&self) -> &str {
        self.jwk.common.key_id.as_deref().unwrap_or_default()
    }

    /// What signs.
    #[must_use]
    pub fn private(&self) -> &EncodingKey {
        &self.private
    }

    /// What verifies.
    #[must_use]
    pub fn public(&self) -> &DecodingKey {
        &self.public
    }

    /// The public key as others read it (RFC 7517).
    #[must_use]
    pub fn jwk(&self) -> &Jwk {
        &self.jwk
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of RFC 8410, section 10.3.
    const ED25519: &str = "-----BEGIN PRIVATE KEY-----\n\
        MC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC\n\
        -----END PRIVATE KEY-----\n";

    /// Made for this test.
    const P256: &str = "-----BEGIN PRIVATE KEY-----\n\
        MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgrTp2BTnS2gWt99Ty\n\
        OFpssASsnlpcS+/aLMrTBHHBHjChRANCAASwolaSxASHxXy+rQzZ1fItEckfNqus\n\
        Z17wqSf4VYi5+TYRLSKQVDPjABwknyOWKaR+8//AXfjGtQMJCWbyhDT6\n\
        -----END PRIVATE KEY-----\n";

    /// Made for this test: a curve that is not taken.
    const P384: &str = "-----BEGIN PRIVATE KEY-----\n\
        MIG2AgEAMBAGByqGSM49AgEGBSuBBAAiBIGeMIGbAgEBBDDDxBcrUhnA5alYSQIS\n\
        cXIct9+yWbnnaZ3hRI7JPtrBKGIbqwr7UcOrFDw5e+fnClmhZANiAAQiQZKO2TSB\n\
        rMLBEO/JiWURzvlzZDH/t+QqiPhZv3gtYytGUwICxrpYquOQ0FshPfa2nlhFfiQm\n\
        fvDB0cAg9sWGVzpYiZWeqUhe7RkZBFJ/0oNCWNDJz8pK0j38uayjd2A=\n\
        -----END PRIVATE KEY-----\n";

    #[test]
    fn a_p256_key_is_one_of_es256() {
        let key = SigningKey::parse(P256).expect("a key");
        assert_eq!(key.algorithm(), Algorithm::ES256);
        let jwk = serde_json::to_value(key.jwk()).expect("JSON");
        assert_eq!(
            (&jwk["kty"], &jwk["crv"], &jwk["alg"]),
            (&"EC".into(), &"P-256".into(), &"ES256".into())
        );
        assert!(jwk["x"].is_string() && jwk["y"].is_string() && jwk.get("d").is_none());
    }

    #[test]
    fn an_ed25519_key_has_the_public_key_of_its_rfc() {
        let key = SigningKey::parse(ED25519).expect("a key");
        assert_eq!(key.algorithm(), Algorithm::EdDSA);
        let jwk = serde_json::to_value(key.jwk()).expect("JSON");
        assert_eq!(jwk["kty"], "OKP");
        assert_eq!(jwk["crv"], "Ed25519");
        assert_eq!(jwk["x"], "Gb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE");
        assert_eq!(jwk["use"], "sig");
        assert_eq!(jwk["alg"], "EdDSA");
        assert_eq!(jwk["kid"], key.id());
        assert!(jwk.get("d").is_none());
        assert_eq!(key.id().len(), 43);
        assert_eq!(format!("{key:?}"), "SigningKey(…)");
    }

    #[test]
    fn line_feeds_may_be_escaped() {
        let escaped = ED25519.replace('\n', "\\n");
        let key = SigningKey::parse(&escaped).expect("a key");
        assert_eq!(key.id(), SigningKey::parse(ED25519).expect("a key").id());
    }

    #[test]
    fn anything_else_is_refused_and_not_quoted() {
        let public = "-----BEGIN PUBLIC KEY-----\n\
            MCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=\n\
            -----END PUBLIC KEY-----\n";
        let cut = ED25519.replace("+K06/nwoy/HU++CXqI9EdVhC", "");
        let body = ED25519.lines().nth(1).expect("a body");
        for pem in ["", "secret", public, &cut, body, P384] {
            let refusal = SigningKey::parse(pem).expect_err("refused");
            assert!(refusal.starts_with("is no private key"), "{refusal}");
        }
    }
}
