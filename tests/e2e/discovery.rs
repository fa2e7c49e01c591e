//! Keys: what signs, what still verifies, and what others find under `/.well-known`.

use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde_json::{Value, json};

use crate::harness::{JWT_SECRET, Service, new_database};

/// Made for these tests.
pub(crate) const ED25519: &str = "-----BEGIN PRIVATE KEY-----\n\
    MC4CAQAwBQYDK2VwBCIEIARJ+tcyda/FHx5J0vNUiSJajkIh6rW86qU2GHsGAr12\n\
    -----END PRIVATE KEY-----\n";
pub(crate) const P256: &str = "-----BEGIN PRIVATE KEY-----\n\
    MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgrTp2BTnS2gWt99Ty\n\
    OFpssASsnlpcS+/aLMrTBHHBHjChRANCAASwolaSxASHxXy+rQzZ1fItEckfNqus\n\
    Z17wqSf4VYi5+TYRLSKQVDPjABwknyOWKaR+8//AXfjGtQMJCWbyhDT6\n\
    -----END PRIVATE KEY-----\n";
const OTHER_SECRET: &str = "another secret of tests, with more than 32 bytes";
const ISSUER: &str = "https://auth.example.org";

async fn status_of(service: &Service, token: &str) -> u16 {
    service.get("/me").bearer(token).send().await.status
}

/// What a service does that has nothing but the discovery document.
async fn verify_as_a_stranger(service: &Service, token: &str) -> Value {
    let configuration = service.get("/.well-known/openid-configuration").send().await;
    assert_eq!(configuration.status, 200, "{}", configuration.body);
    assert_eq!(configuration.body["issuer"], ISSUER);
    let jwks_uri = configuration.body["jwks_uri"].as_str().expect("a URI");
    let path = jwks_uri.strip_prefix(ISSUER).expect("an address of the issuer");
    let keys: JwkSet = serde_json::from_value(service.get(path).send().await.body).expect("keys");
    let header = jsonwebtoken::decode_header(token).expect("a header");
    let key = keys.find(header.kid.as_deref().expect("a kid")).expect("the key");
    let algorithm = configuration.body["id_token_signing_alg_values_supported"][0].clone();
    let algorithm: Algorithm = serde_json::from_value(algorithm).expect("an algorithm");
    let mut validation = Validation::new(algorithm);
    validation.set_issuer(&[ISSUER]);
    validation.set_audience(&["edd-cloud"]);
    let key = DecodingKey::from_jwk(key).expect("a key");
    jsonwebtoken::decode::<Value>(token, &key, &validation).expect("a good token").claims
}

#[tokio::test]
async fn a_token_of_a_signing_key_is_verified_with_what_is_published() {
    for (pem, algorithm) in [(ED25519, "EdDSA"), (P256, "ES256")] {
        let variables = [("jwt_signing_key", pem), ("jwt_issuer", ISSUER)];
        let service = Service::start_with(&variables).await;
        let token = service.login_admin().await;
        let header = jsonwebtoken::decode_header(&token).expect("a header");
        assert_eq!(format!("{:?}", header.alg), algorithm);
        assert_eq!(header.typ.as_deref(), Some("session+jwt"));
        assert_eq!(verify_as_a_stranger(&service, &token).await["username"], "admin");
        assert_eq!(status_of(&service, &token).await, 200);
    }
}

#[tokio::test]
async fn nothing_of_a_secret_is_published() {
    let service = Service::start_with(&[("jwt_issuer", ISSUER)]).await;
    let keys = service.get("/.well-known/jwks.json").send().await;
    assert_eq!(keys.body, json!({"keys": []}));
    let configuration = service.get("/.well-known/openid-configuration").send().await;
    assert_eq!(configuration.body["id_token_signing_alg_values_supported"], json!(["HS256"]));

    let service = Service::start_with(&[("jwt_signing_key", P256)]).await;
    let keys = service.get("/.well-known/jwks.json").send().await.body;
    assert!(keys["keys"][0].get("d").is_none(), "{keys}");
}

/// A Host header is whatever a client writes.
#[tokio::test]
async fn addresses_are_built_on_the_issuer_only() {
    let service = Service::start_with(&[("jwt_signing_key", ED25519)]).await;
    let reply = service
        .get("/.well-known/openid-configuration")
        .header("x-forwarded-host", "evil.example")
        .send()
        .await;
    reply.assert_problem(404, "no_discovery");
    let issuer = format!("{ISSUER}/auth/");
    let service = Service::start_with(&[("jwt_issuer", &issuer), ("service_api_key", "")]).await;
    let body = service.get("/.well-known/openid-configuration").send().await.body;
    assert_eq!(body["issuer"], issuer);
    assert_eq!(body["jwks_uri"], format!("{ISSUER}/auth/.well-known/jwks.json"));
    assert!(body.get("introspection_endpoint").is_none(), "{body}");
}

#[tokio::test]
async fn a_secret_is_replaced_without_ending_sessions() {
    let database = new_database().await;
    let before = Service::on_database(&database, &[("jwt_secret", OTHER_SECRET)]).await;
    let old = before.login_admin().await;
    let both = [("jwt_secret_previous", OTHER_SECRET)];
    let between = Service::on_database(&database, &both).await;
    assert_eq!(status_of(&between, &old).await, 200);
    let new = between.login_admin().await;
    // The previous secret never signs.
    assert_eq!(status_of(&before, &new).await, 401);
    let after = Service::on_database(&database, &[]).await;
    assert_eq!(status_of(&after, &new).await, 200);
    assert_eq!(status_of(&after, &old).await, 401);
}

#[tokio::test]
async fn a_signing_key_is_replaced_without_ending_sessions() {
    let database = new_database().await;
    let before = Service::on_database(&database, &[("jwt_signing_key", P256)]).await;
    let old = before.login_admin().await;
    let both = [("jwt_signing_key", ED25519), ("jwt_signing_key_previous", P256)];
    let between = Service::on_database(&database, &both).await;
    assert_eq!(status_of(&between, &old).await, 200);
    let keys = between.get("/.well-known/jwks.json").send().await.body;
    assert_eq!(keys["keys"][0]["alg"], "EdDSA");
    assert_eq!(keys["keys"][1]["alg"], "ES256");
    let new = between.login_admin().await;
    assert_eq!(status_of(&before, &new).await, 401);
    let after = Service::on_database(&database, &[("jwt_signing_key", ED25519)]).await;
    assert_eq!(status_of(&after, &new).await, 200);
    assert_eq!(status_of(&after, &old).await, 401);
}

/// CVE-2023-48223: the public key, which everybody has, taken for the secret of an
/// HMAC.
#[tokio::test]
async fn a_public_key_signs_nothing() {
    let service = Service::start_with(&[("jwt_signing_key", ED25519)]).await;
    let good = service.login_admin().await;
    let claims: Value = jsonwebtoken::dangerous::insecure_decode(&good).expect("a token").claims;
    let keys: JwkSet =
        serde_json::from_value(service.get("/.well-known/jwks.json").send().await.body)
            .expect("keys");
    let jwk = &keys.keys[0];
    let public = DecodingKey::from_jwk(jwk).expect("a key");
    let raw = public.try_get_as_bytes().expect("bytes").to_vec();
    let json = serde_json::to_vec(jwk).expect("JSON");
    for secret in [raw, json, JWT_SECRET.as_bytes().to_vec()] {
        for kid in [None, jwk.common.key_id.clone()] {
            let mut header = Header::new(Algorithm::HS256);
            header.typ = Some("session+jwt".to_owned());
            header.kid = kid;
            let forged = jsonwebtoken::encode(&header, &claims, &EncodingKey::from_secret(&secret));
            assert_eq!(status_of(&service, &forged.expect("signs")).await, 401);
        }
    }
    assert_eq!(status_of(&service, &good).await, 200);
}

#[tokio::test]
async fn tokens_of_secrets_and_of_signing_keys_do_not_mix() {
    let database = new_database().await;
    let secret = Service::on_database(&database, &[]).await;
    let signing = Service::on_database(&database, &[("jwt_signing_key", ED25519)]).await;
    let (of_secret, of_key) = (secret.login_admin().await, signing.login_admin().await);
    assert_eq!(status_of(&secret, &of_key).await, 401);
    assert_eq!(status_of(&signing, &of_secret).await, 401);
    // Not that the other one would be dead.
    assert_eq!(status_of(&secret, &of_secret).await, 200);
    assert_eq!(status_of(&signing, &of_key).await, 200);
}
