//! Session tokens: JSON Web Tokens (RFC 7519) by the rules of RFC 8725.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{
    Algorithm, DecodingKey, EncodingKey, Header, Validation, crypto, decode, encode,
};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::error::Error;

/// `typ` of a session's token. Tokens of other kinds have other types, so that
/// none can pass for another (RFC 8725, section 3.11).
const SESSION_TYPE: &str = "session+jwt";

/// Longest token that is looked at, in bytes.
const MAX_BYTES: usize = 8 * 1024;

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

/// Signs and verifies the tokens of one issuer for one audience.
pub(crate) struct TokenKey {
    signing: EncodingKey,
    verifying: DecodingKey,
    issuer: String,
    audience: String,
}

impl TokenKey {
    /// A key for HS256 (RFC 7518, section 3.2).
    pub(crate) fn new(secret: &[u8], issuer: String, audience: String) -> Self {
        Self {
            signing: EncodingKey::from_secret(secret),
            verifying: DecodingKey::from_secret(secret),
            issuer,
            audience,
        }
    }

    /// The compact form of a session's token.
    ///
    /// # Errors
    ///
    /// [`Error::Internal`], which these claims can't cause.
    pub(crate) fn sign(&self, claims: Claims) -> Result<String, Error> {
        let mut header = Header::new(Algorithm::HS256);
        header.typ = Some(SESSION_TYPE.to_owned());
        let envelope = Envelope { iss: self.issuer.clone(), aud: self.audience.clone(), claims };
        encode(&header, &envelope, &self.signing).map_err(Error::internal)
    }

    /// The claims of a session's token that this key has signed and whose time
    /// is not over.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidToken`], whatever is wrong: a client can do nothing with
    /// the difference.
    pub(crate) fn verify(&self, token: &str) -> Result<Claims, Error> {
        if token.len() > MAX_BYTES {
            return Err(Error::InvalidToken);
        }
        let mut validation = Validation::new(Algorithm::HS256);
        validation.set_issuer(&[&self.issuer]);
        validation.set_audience(&[&self.audience]);
        validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
        validation.validate_nbf = true;
        // The clocks of two hosts may differ; the session's row decides in the end.
        validation.leeway = 60;
        let data = decode::<Envelope<Claims>>(token, &self.verifying, &validation)
            .map_err(|_| Error::InvalidToken)?;
        if data.header.typ.as_deref() != Some(SESSION_TYPE) || data.header.crit.is_some() {
            return Err(Error::InvalidToken);
        }
        Ok(data.claims.claims)
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
        let signature = crypto::sign(&sealed(&text), &self.signing, Algorithm::HS256)
            .map_err(Error::internal)?;
        Ok(format!("{text}.{signature}"))
    }

    /// The text of [`TokenKey::seal`]; `None` when this key has not signed it.
    pub(crate) fn unseal(&self, sealed_text: &str) -> Option<String> {
        let (text, signature) = sealed_text.split_once('.')?;
        let signed = crypto::verify(signature, &sealed(text), &self.verifying, Algorithm::HS256);
        if !signed.is_ok_and(|signed| signed) {
            return None;
        }
        String::from_utf8(URL_SAFE_NO_PAD.decode(text).ok()?).ok()
    }
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

    const SECRET: &[u8] = b"0123456789abcdef0123456789abcdef";
    const FAR_FUTURE: i64 = 32_503_680_000;

    fn key() -> TokenKey {
        TokenKey::new(SECRET, "edd-cloud-auth".to_owned(), "edd-cloud".to_owned())
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
        encode(&header, &body, &EncodingKey::from_secret(SECRET)).expect("signs")
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
        let refused: [(&str, String); 17] = [
            ("empty", String::new()),
            ("no token", "abc".to_owned()),
            ("type", forged(|header, _| header.typ = Some("JWT".to_owned()))),
            ("no type", forged(|header, _| header.typ = None)),
            ("crit", forged(|header, _| header.crit = Some(vec!["exp".to_owned()]))),
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
        let other = TokenKey::new(&[7; 32], "edd-cloud-auth".to_owned(), "edd-cloud".to_owned());
        let foreign = other.sign(claims()).expect("signs");
        assert!(key().verify(&foreign).is_err());

        let mut header = Header::new(Algorithm::HS512);
        header.typ = Some(SESSION_TYPE.to_owned());
        let body = Envelope {
            iss: "edd-cloud-auth".to_owned(),
            aud: "edd-cloud".to_owned(),
            claims: claims(),
        };
        let hs512 = encode(&header, &body, &EncodingKey::from_secret(SECRET)).expect("signs");
        assert!(key().verify(&hs512).is_err());
    }

    #[test]
    fn a_sealed_text_opens_with_its_key_and_whole_only() {
        let sealed = key().seal("{\"after\":\"ü\"}").expect("sealed");
        assert_eq!(key().unseal(&sealed).as_deref(), Some("{\"after\":\"ü\"}"));
        let other = TokenKey::new(&[7; 32], "edd-cloud-auth".to_owned(), "edd-cloud".to_owned());
        assert_eq!(other.unseal(&sealed), None);
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
