//! `GET /.well-known/openid-configuration`: where the keys are, and what signs
//! (`OpenID` Connect Discovery 1.0, section 4, as far as it applies: there is no
//! authorization endpoint).
//!
//! 200; 404 `no_discovery` unless `jwt_issuer` is the address of this service.

use edd_auth_rules::setting;
use jsonwebtoken::Algorithm;
use serde::Serialize;

use crate::context::Context;
use crate::error::Error;
use crate::http::Response;

/// The claims of a session's token.
const CLAIMS: [&str; 10] =
    ["iss", "aud", "sub", "sid", "iat", "exp", "user_id", "username", "display_name", "is_admin"];

#[derive(Serialize)]
struct Output<'a> {
    issuer: &'a str,
    jwks_uri: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    introspection_endpoint: Option<String>,
    response_types_supported: [&'static str; 0],
    subject_types_supported: [&'static str; 1],
    id_token_signing_alg_values_supported: [Algorithm; 1],
    claims_supported: [&'static str; 10],
}

pub(crate) fn handle(ctx: &Context) -> Result<Response, Error> {
    let key = &ctx.config.token_key;
    // Never the Host header, which is whatever a client writes.
    let address = setting::issuer_url(key.issuer()).ok_or(Error::NoDiscovery)?;
    let has_services = ctx.config.service_api_key.is_some();
    Ok(Response::ok(&Output {
        issuer: key.issuer(),
        jwks_uri: format!("{address}/.well-known/jwks.json"),
        introspection_endpoint: has_services.then(|| format!("{address}/introspect")),
        response_types_supported: [],
        subject_types_supported: ["public"],
        id_token_signing_alg_values_supported: [key.algorithm()],
        claims_supported: CLAIMS,
    }))
}
