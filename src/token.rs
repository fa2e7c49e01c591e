//! Session tokens: JSON Web Tokens (RFC 7519) by the rules of RFC 8725.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use edd_auth_rules::signing_key::SigningKey;
use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{
    Algorithm, DecodingKey, EncodingKey, Header, Validation, crypto, decode, decode_header, encode,
    get_current_timestamp,
};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::error::Error;

/// `typ` of a session's token. Tokens of other kinds have other types, so that
/// none can pass for another (RFC 8725, section 3.11).
const SESSION_TYPE: &str = "session+jwt";

/// Longest token that is looked at, in bytes.
const MAX_BYTES: usize = 8 * 1024;

/// How far the clocks of two hosts may be apart, in seconds.
const LEEWAY_SECONDS: u64 = 60;

/// What a session's token says. A reader may rely on all of it until `exp`, if
/// it can live with a session that has ended meanwhile; this service can't, and
/// looks the session up each time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Claims {
    /// The integer id of the user.
    pub(crate) user_id: i32,
    /// The user's name at login.
    pub(crate) username: String,
    /// What to call the user, at login.
    pub(crate) display_name: Option<String>,
    /// Whether the user was an administrator at login. For display only.
    pub(crate) is_admin: bool,
    /// The public id of the user.
    pub(crate) sub: String,
    /// The session: `sessions.id`.
    pub(crate) sid: Uuid,
    /// When the session started, in seconds since 1970.
    pub(crate) iat: i64,
    /// When the session ends, in seconds since 1970.
    pub(crate) exp: i64,
}

/// Claims as they travel, with those that the key adds.
#[derive(Serialize, Deserialize)]
struct Envelope<C> {
    iss: String,
    aud: String,
    #[serde(flatten)]
    claims: C,
}

/// What the configuration says of keys.
pub(crate) struct Keys<'a> {
    /// `jwt_secret`: signs the tokens, unless there is a signing key, and cursors.
    pub(crate) secret: &'a str,
    /// `jwt_secret_previous`: still verifies what it has signed.
    pub(crate) previous_secret: Option<&'a str>,
    /// `jwt_signing_key`: signs the tokens.
    pub(crate) signing_key: Option<SigningKey>,
    /// `jwt_signing_key_previous`: still verifies what it has signed.
    pub(crate) previous_signing_key: Option<SigningKey>,
}

/// A key that verifies, with the one algorithm that it is for (RFC 8725, section
/// 3.1): a token has no say in that.
struct Verifier {
    /// What the header has to say for `kid`.
    id: Option<String>,
    algorithm: Algorithm,
    key: DecodingKey,
}

impl Verifier {
    fn of_secret(key: &DecodingKey) -> Self {
        Self { id: None, algorithm: Algorithm::HS256, key: key.clone() }
    }

    fn of_key(key: &SigningKey) -> Self {
        let id = Some(key.id().to_owned());
        Self { id, algorithm: key.algorithm(), key: key.public().clone() }
    }
}

/// Signs and verifies the tokens of one issuer for one audience.
pub(crate) struct TokenKey {
    header: Header,
    signing: EncodingKey,
    /// The key that signs first, then the one before it.
    verifying: Vec<Verifier>,
    sealing: EncodingKey,
    unsealing: Vec<DecodingKey>,
    published: JwkSet,
    issuer: String,
    audience: String,
}

impl TokenKey {
    /// HS256 (RFC 7518, section 3.2) with the secret; where there is a signing key,
    /// its algorithm and no other: a token of the secret is refused then.
    pub(crate) fn new(keys: &Keys<'_>, issuer: String, audience: String) -> Self {
        let sealing = EncodingKey::from_secret(keys.secret.as_bytes());
        let unsealing: Vec<DecodingKey> = std::iter::once(keys.secret)
            .chain(keys.previous_secret)
            .map(|secret| DecodingKey::from_secret(secret.as_bytes()))
            .collect();
        let mut header = Header::new(Algorithm::HS256);
        header.typ = Some(SESSION_TYPE.to_owned());
        let mut signing = sealing.clone();
        let mut verifying: Vec<Verifier> = unsealing.iter().map(Verifier::of_secret).collect();
        let mut published = JwkSet::default();
        if let Some(key) = &keys.signing_key {
            let mut signing_keys: Vec<&SigningKey> =
                std::iter::once(key).chain(&keys.previous_signing_key).collect();
            // The same key twice would be two of one id.
            signing_keys.dedup_by_key(|key| key.id());
            header.alg = key.algorithm();
            header.kid = Some(key.id().to_owned());
            signing = key.private().clone();
            verifying = signing_keys.iter().map(|key| Verifier::of_key(key)).collect();
            published.keys = signing_keys.iter().map(|key| key.jwk().clone()).collect();
        }
        Self { header, signing, verifying, sealing, unsealing, published, issuer, audience }
    }

    /// The public keys, for those who verify without asking (RFC 7517, section 5).
    /// None where a secret signs.
    pub(crate) fn published(&self) -> &JwkSet {
        &self.published
    }

    /// The algorithm of the tokens that are signed from now on.
    pub(crate) fn algorithm(&self) -> Algorithm {
        self.header.alg
    }

    /// `iss` of the tokens.
    pub(crate) fn issuer(&self) -> &str {
        &self.issuer
    }

    /// The compact form of a session's token.
    ///
    /// # Errors
    ///
    /// [`Error::Internal`], which these claims can't cause.
    pub(crate) fn sign(&self, claims: Claims) -> Result<String, Error> {
        let envelope = Envelope { iss: self.issuer.clone(), aud: self.audience.clone(), claims };
        encode(&self.header, &envelope, &self.signing).map_err(Error::internal)
    }

    /// The claims of a session's token that a key of this service has signed and
    /// whose time is not over.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidToken`], whatever is wrong: a client can do nothing with
    /// the difference.
    pub(crate) fn verify(&self, token: &str) -> Result<Claims, Error> {
        if token.len() > MAX_BYTES {
            return Err(Error::InvalidToken);
        }
        let header = decode_header(token).map_err(|_| Error::InvalidToken)?;
        if header.typ.as_deref() != Some(SESSION_TYPE) || says_how_to_verify(&header) {
            return Err(Error::InvalidToken);
        }
        // `kid` is compared and never looked up anywhere.
        self.verifying
            .iter()
            .filter(|verifier| verifier.id == header.kid)
            .find_map(|verifier| self.claims(token, verifier))
            .ok_or(Error::InvalidToken)
    }

    /// The claims of a token that this key has signed.
    fn claims(&self, token: &str, verifier: &Verifier) -> Option<Claims> {
        let mut validation = Validation::new(verifier.algorithm);
        validation.set_issuer(&[&self.issuer]);
        validation.set_audience(&[&self.audience]);
        validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
        validation.validate_nbf = true;
        // The clocks of two hosts may differ; the session's row decides in the end.
        validation.leeway = LEEWAY_SECONDS;
        let envelope = decode::<Envelope<Claims>>(token, &verifier.key, &validation).ok()?;
        let claims = envelope.claims.claims;
        let latest = get_current_timestamp() + LEEWAY_SECONDS;
        // The library looks at `exp` and `nbf` only.
        let issued = u64::try_from(claims.iat).ok()?;
        (issued <= latest).then_some(claims)
    }

    /// Signs a text that is no token: what comes back from a client as it was
    /// given out. The text and its signature (HMAC, RFC 2104) as base64url, with
    /// a point between.
    ///
    /// # Errors
    ///
    /// [`Error::Internal`], which a text can't cause.
    pub(crate) fn seal(&self, text: &str) -> Result<String, Error> {
        let text = URL_SAFE_NO_PAD.encode(text);
        let signature = crypto::sign(&sealed(&text), &self.sealing, Algorithm::HS256)
            .map_err(Error::internal)?;
        Ok(format!("{text}.{signature}"))
    }

    /// The text of [`TokenKey::seal`]; `None` when no key of this service has signed
    /// it.
    pub(crate) fn unseal(&self, sealed_text: &str) -> Option<String> {
        let (text, signature) = sealed_text.split_once('.')?;
        let message = sealed(text);
        let signed = self.unsealing.iter().any(|key| {
            crypto::verify(signature, &message, key, Algorithm::HS256).is_ok_and(|signed| signed)
        });
        if !signed {
            return None;
        }
        String::from_utf8(URL_SAFE_NO_PAD.decode(text).ok()?).ok()
    }
}

/// Whether a header brings a key along, says where one is, or asks for something to
/// be understood. Nobody signs such a token here (RFC 8725, sections 3.1 and 3.10).
fn says_how_to_verify(header: &Header) -> bool {
    header.jku.is_some()
        || header.jwk.is_some()
        || header.x5u.is_some()
        || header.x5c.is_some()
        || header.crit.is_some()
}

/// What is signed of a sealed text. No token's signature is over anything that
/// begins this way, since a token begins with the base64url of a `{`.
fn sealed(text: &str) -> Vec<u8> {
    format!("sealed.{text}").into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    const SECRET: &str = "0123456789abcdef0123456789abcdef";
    const OTHER_SECRET: &str = "fedcba9876543210fedcba9876543210";
    const FAR_FUTURE: i64 = 32_503_680_000;

    /// Made for these tests.
    const ED25519: &str = "-----BEGIN PRIVATE KEY-----\n\
        MC4CAQAwBQYDK2VwBCIEIARJ+tcyda/FHx5J0vNUiSJajkIh6rW86qU2GHsGAr12\n\
        -----END PRIVATE KEY-----\n";
    const P256: &str = "-----BEGIN PRIVATE KEY-----\n\
        MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgrTp2BTnS2gWt99Ty\n\
        OFpssASsnlpcS+/aLMrTBHHBHjChRANCAASwolaSxASHxXy+rQzZ1fItEckfNqus\n\
        Z17wqSf4VYi5+TYRLSKQVDPjABwknyOWKaR+8//AXfjGtQMJCWbyhDT6\n\
        -----END PRIVATE KEY-----\n";

    /// The key of a service with these secrets and signing keys, the present one
    /// first.
    fn key_of(secrets: [Option<&str>; 2], signing_keys: [Option<&str>; 2]) -> TokenKey {
        let parse = |pem: &str| SigningKey::parse(pem).expect("a key");
        let keys = Keys {
            secret: secrets[0].expect("a secret"),
            previous_secret: secrets[1],
            signing_key: signing_keys[0].map(parse),
            previous_signing_key: signing_keys[1].map(parse),
        };
        TokenKey::new(&keys, "edd-cloud-auth".to_owned(), "edd-cloud".to_owned())
    }

    fn key() -> TokenKey {
        key_of([Some(SECRET), None], [None, None])
    }

    fn other_key() -> TokenKey {
        key_of([Some(OTHER_SECRET), None], [None, None])
    }

    fn claims() -> Claims {
        Claims {
            user_id: 7,
            username: "ada".to_owned(),
            display_name: None,
            is_admin: false,
            sub: "a1B2c3".to_owned(),
            sid: Uuid::from_u128(0x0198_1f5e_7b5a_7c3d_8e4f_5a6b_7c8d_9e0f),
            iat: 1_790_000_000,
            exp: FAR_FUTURE,
        }
    }

    /// A token with a right signature, but other claims or another header.
    fn forged(change: impl Fn(&mut Header, &mut Value)) -> String {
        let mut header = Header::new(Algorithm::HS256);
        header.typ = Some(SESSION_TYPE.to_owned());
        let mut body = json!({"iss": "edd-cloud-auth", "aud": "edd-cloud"});
        let rest = serde_json::to_value(claims()).expect("claims are JSON");
        for (name, value) in rest.as_object().expect("an object") {
            body[name] = value.clone();
        }
        change(&mut header, &mut body);
        encode(&header, &body, &EncodingKey::from_secret(SECRET.as_bytes())).expect("signs")
    }

    #[test]
    fn a_signed_token_verifies() {
        let token = key().sign(claims()).expect("signs");
        assert_eq!(key().verify(&token).expect("verifies"), claims());
        assert_eq!(key().verify(&forged(|_, _| {})).expect("verifies"), claims());
    }

    #[test]
    fn anything_else_is_refused() {
        let now = i64::try_from(jsonwebtoken::get_current_timestamp()).expect("fits");
        let refused: [(&str, String); 25] = [
            ("empty", String::new()),
            ("no token", "abc".to_owned()),
            ("type", forged(|header, _| header.typ = Some("JWT".to_owned()))),
            ("no type", forged(|header, _| header.typ = None)),
            ("crit", forged(|header, _| header.crit = Some(vec!["exp".to_owned()]))),
            ("kid", forged(|header, _| header.kid = Some("../../dev/null".to_owned()))),
            ("jku", forged(|header, _| header.jku = Some("https://example.org/k".to_owned()))),
            ("x5u", forged(|header, _| header.x5u = Some("https://example.org/k".to_owned()))),
            ("x5c", forged(|header, _| header.x5c = Some(vec!["MIIB".to_owned()]))),
            (
                "jwk",
                forged(|header, _| {
                    let own = SigningKey::parse(ED25519).expect("a key");
                    header.jwk = Some(own.jwk().clone());
                }),
            ),
            ("iat to come", forged(|_, body| body["iat"] = json!(now + 120))),
            ("iat below 0", forged(|_, body| body["iat"] = json!(-1))),
            ("exp as a fraction", forged(|_, body| body["exp"] = json!(1.5))),
            ("issuer", forged(|_, body| body["iss"] = json!("another"))),
            ("audience", forged(|_, body| body["aud"] = json!("another"))),
            ("audiences", forged(|_, body| body["aud"] = json!(["another"]))),
            ("expired", forged(|_, body| body["exp"] = json!(now - 61))),
            ("exp as text", forged(|_, body| body["exp"] = json!("32503680000"))),
            ("not yet", forged(|_, body| body["nbf"] = json!(now + 120))),
            ("nbf as text", forged(|_, body| body["nbf"] = json!("soon"))),
            ("sid", forged(|_, body| body["sid"] = json!("\0"))),
            ("no sid", forged(|_, body| drop(body.as_object_mut().expect("object").remove("sid")))),
            ("no exp", forged(|_, body| drop(body.as_object_mut().expect("object").remove("exp")))),
            ("no iat", forged(|_, body| drop(body.as_object_mut().expect("object").remove("iat")))),
            ("no iss", forged(|_, body| drop(body.as_object_mut().expect("object").remove("iss")))),
        ];
        for (what, token) in refused {
            assert!(matches!(key().verify(&token), Err(Error::InvalidToken)), "{what}");
        }
    }

    #[test]
    fn another_key_or_algorithm_is_refused() {
        let foreign = other_key().sign(claims()).expect("signs");
        assert!(key().verify(&foreign).is_err());

        let mut header = Header::new(Algorithm::HS512);
        header.typ = Some(SESSION_TYPE.to_owned());
        let body = Envelope {
            iss: "edd-cloud-auth".to_owned(),
            aud: "edd-cloud".to_owned(),
            claims: claims(),
        };
        let hs512 =
            encode(&header, &body, &EncodingKey::from_secret(SECRET.as_bytes())).expect("signs");
        assert!(key().verify(&hs512).is_err());
    }

    #[test]
    fn the_previous_secret_verifies_and_never_signs() {
        let before = key_of([Some(OTHER_SECRET), None], [None, None]);
        let now = key_of([Some(SECRET), Some(OTHER_SECRET)], [None, None]);
        assert!(now.verify(&before.sign(claims()).expect("signs")).is_ok());
        let sealed = before.seal("{}").expect("seals");
        assert_eq!(now.unseal(&sealed).as_deref(), Some("{}"));

        let token = now.sign(claims()).expect("signs");
        assert!(before.verify(&token).is_err());
        assert!(key().verify(&token).is_ok());
        assert_eq!(before.unseal(&now.seal("{}").expect("seals")), None);
    }

    #[test]
    fn a_signing_key_signs_with_its_own_algorithm() {
        for (pem, algorithm) in [(ED25519, Algorithm::EdDSA), (P256, Algorithm::ES256)] {
            let key = key_of([Some(SECRET), None], [Some(pem), None]);
            let token = key.sign(claims()).expect("signs");
            let header = decode_header(&token).expect("a header");
            assert_eq!((header.alg, header.typ.as_deref()), (algorithm, Some(SESSION_TYPE)));
            let published = &key.published().keys;
            assert_eq!(published.len(), 1);
            assert_eq!(header.kid, published[0].common.key_id);
            assert_eq!(key.verify(&token).expect("verifies"), claims());
        }
        assert!(key().published().keys.is_empty());
    }

    #[test]
    fn the_previous_signing_key_verifies_and_never_signs() {
        let before = key_of([Some(SECRET), None], [Some(P256), None]);
        let now = key_of([Some(SECRET), None], [Some(ED25519), Some(P256)]);
        assert!(now.verify(&before.sign(claims()).expect("signs")).is_ok());
        assert!(before.verify(&now.sign(claims()).expect("signs")).is_err());
        assert_eq!(now.published().keys.len(), 2);
        let twice = key_of([Some(SECRET), None], [Some(P256), Some(P256)]);
        assert_eq!(twice.published().keys.len(), 1);
    }

    /// CVE-2023-48223 and its kind: the public key, which everybody has, taken for
    /// the secret of an HMAC.
    #[test]
    fn a_public_key_is_no_secret() {
        for pem in [ED25519, P256] {
            let asymmetric = key_of([Some(SECRET), None], [Some(pem), None]);
            let signing_key = SigningKey::parse(pem).expect("a key");
            let jwk = serde_json::to_string(signing_key.jwk()).expect("JSON");
            let raw = signing_key.public().try_get_as_bytes().expect("bytes").to_vec();
            for secret in [SECRET.as_bytes(), jwk.as_bytes(), &raw, pem.as_bytes()] {
                for kid in [None, Some(signing_key.id().to_owned())] {
                    let mut header = Header::new(Algorithm::HS256);
                    header.typ = Some(SESSION_TYPE.to_owned());
                    header.kid = kid;
                    let body = Envelope {
                        iss: "edd-cloud-auth".to_owned(),
                        aud: "edd-cloud".to_owned(),
                        claims: claims(),
                    };
                    let token = encode(&header, &body, &EncodingKey::from_secret(secret));
                    assert!(asymmetric.verify(&token.expect("signs")).is_err());
                }
            }
        }
    }

    #[test]
    fn a_token_of_a_signing_key_is_none_of_a_secret() {
        let asymmetric = key_of([Some(SECRET), None], [Some(ED25519), None]);
        assert!(key().verify(&asymmetric.sign(claims()).expect("signs")).is_err());
        let other = key_of([Some(SECRET), None], [Some(P256), None]);
        assert!(asymmetric.verify(&other.sign(claims()).expect("signs")).is_err());
    }

    #[test]
    fn a_sealed_text_opens_with_its_key_and_whole_only() {
        let sealed = key().seal("{\"after\":\"ü\"}").expect("sealed");
        assert_eq!(key().unseal(&sealed).as_deref(), Some("{\"after\":\"ü\"}"));
        assert_eq!(other_key().unseal(&sealed), None);
        let (text, signature) = sealed.split_once('.').expect("two parts");
        for forged in [
            String::new(),
            text.to_owned(),
            format!("{text}."),
            format!("{text}A.{signature}"),
            format!("{}.{signature}", URL_SAFE_NO_PAD.encode("{\"after\":\"1\"}")),
            format!("{sealed}."),
        ] {
            assert_eq!(key().unseal(&forged), None, "{forged}");
        }
    }

    #[test]
    fn a_token_is_no_sealed_text_and_no_sealed_text_a_token() {
        let token = key().sign(claims()).expect("signs");
        assert_eq!(key().unseal(&token), None);
        assert_eq!(key().unseal(token.split_once('.').expect("parts").1), None);
        let sealed = key().seal("{}").expect("sealed");
        assert!(key().verify(&sealed).is_err());
    }

    #[test]
    fn a_token_past_the_limit_is_not_even_parsed() {
        let long = forged(|_, body| body["username"] = json!("a".repeat(MAX_BYTES)));
        assert!(key().verify(&long).is_err());
    }
}
