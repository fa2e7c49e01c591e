//! Tokens that must not work.

use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::{Value, json};

use crate::harness::{JWT_SECRET, Service};

/// A live session's claims.
fn claims(token: &str) -> Value {
    use base64::Engine;
    let body = token.split('.').nth(1).expect("three parts");
    let json = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(body).expect("base64url");
    serde_json::from_slice(&json).expect("JSON")
}

fn sign(header: &Header, claims: &Value, secret: &str) -> String {
    encode(header, claims, &EncodingKey::from_secret(secret.as_bytes())).expect("signed")
}

fn header(algorithm: Algorithm, typ: &str) -> Header {
    let mut header = Header::new(algorithm);
    header.typ = Some(typ.to_owned());
    header
}

fn unsigned(claims: &Value) -> String {
    use base64::Engine;
    let encode =
        |value: &Value| base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(value.to_string());
    format!("{}.{}.", encode(&json!({"alg": "none", "typ": "session+jwt"})), encode(claims))
}

#[tokio::test]
async fn every_claim_is_there_and_nothing_else() {
    let service = Service::start().await;
    let claims = claims(&service.login_admin().await);
    let keys: Vec<&String> = claims.as_object().expect("an object").keys().collect();
    assert_eq!(
        keys,
        [
            "aud",
            "display_name",
            "exp",
            "iat",
            "is_admin",
            "iss",
            "sid",
            "sub",
            "user_id",
            "username"
        ]
    );
    assert!(claims["user_id"].is_i64());
    assert_eq!(claims["exp"].as_i64().expect("exp") - claims["iat"].as_i64().expect("iat"), 86_400);
    assert_eq!(claims["iss"], "edd-cloud-auth");
    assert_eq!(claims["aud"], "edd-cloud");
}

#[tokio::test]
async fn tokens_that_this_service_has_not_made_are_refused() {
    let service = Service::start().await;
    let token = service.login_admin().await;
    let good = claims(&token);
    let with = |name: &str, value: Value| {
        let mut claims = good.clone();
        claims[name] = value;
        claims
    };
    let session = header(Algorithm::HS256, "session+jwt");
    // The same claims under the same key pass: what is refused below is refused
    // for the one thing that is different.
    let copy = sign(&session, &good, JWT_SECRET);
    assert_eq!(service.get("/me").bearer(&copy).send().await.status, 200);

    let now = good["iat"].as_i64().expect("iat");
    let (head, signature) = (
        token.rsplit_once('.').expect("three parts").0,
        token.rsplit_once('.').expect("three parts").1,
    );
    let refused = [
        ("alg none", unsigned(&good)),
        ("alg none with a signature", format!("{}{signature}", unsigned(&good))),
        ("another algorithm", sign(&header(Algorithm::HS512, "session+jwt"), &good, JWT_SECRET)),
        ("another key", sign(&session, &good, "another secret of more than 32 bytes")),
        ("another kind", sign(&header(Algorithm::HS256, "JWT"), &good, JWT_SECRET)),
        ("expired", sign(&session, &with("exp", json!(now - 3600)), JWT_SECRET)),
        ("exp as text", sign(&session, &with("exp", json!("never")), JWT_SECRET)),
        ("another audience", sign(&session, &with("aud", json!("mail")), JWT_SECRET)),
        ("another issuer", sign(&session, &with("iss", json!("mail")), JWT_SECRET)),
        ("another session", sign(&session, &with("sid", json!("x")), JWT_SECRET)),
        ("a session of NUL", sign(&session, &with("sid", json!("\0")), JWT_SECRET)),
        ("truncated", token[..token.len() - 1].to_owned()),
        ("without a signature", format!("{head}.")),
        ("without its end", head.to_owned()),
        ("empty", String::new()),
        ("not a token", "x".to_owned()),
        ("too long", "a".repeat(9000)),
    ];
    for (what, token) in refused {
        let reply = service.get("/me").bearer(&token).send().await;
        assert_eq!(
            (reply.status, reply.body["code"].as_str()),
            (401, Some("invalid_token")),
            "{what}"
        );
        let challenge = reply.header("www-authenticate").expect("a challenge");
        assert!(challenge.contains(r#"error="invalid_token""#), "{what}: {challenge}");
    }
}

#[tokio::test]
async fn the_scheme_has_to_be_bearer_and_the_header_single() {
    let service = Service::start().await;
    let token = service.login_admin().await;
    for value in [format!("Basic {token}"), token.clone(), format!("Bearer{token}")] {
        let reply = service.get("/me").header("authorization", &value).send().await;
        reply.assert_problem(401, "invalid_token");
    }
    let twice = service.get("/me").bearer(&token).bearer(&token).send().await;
    twice.assert_problem(401, "invalid_token");
    let lower = service.get("/me").header("authorization", format!("bearer {token}")).send().await;
    assert_eq!(lower.status, 200);
}

#[tokio::test]
async fn a_claim_does_not_make_an_administrator() {
    let service = Service::start().await;
    let admin = service.login_admin().await;
    service.create_user(&admin, "ada").await;
    let token = service.login("ada", crate::harness::PASSWORD).await;
    let mut forged = claims(&token);
    forged["is_admin"] = json!(true);
    forged["username"] = json!("admin");
    // Signed with the right key: even then the database decides.
    let forged = sign(&header(Algorithm::HS256, "session+jwt"), &forged, JWT_SECRET);
    service.get("/admin/users").bearer(&forged).send().await.assert_problem(403, "forbidden");
}
