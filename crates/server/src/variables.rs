//! The values of the variables of `spin.toml`, checked as the component will, so
//! that a mistake stops the start instead of every request.

use std::collections::BTreeMap;

use edd_auth_rules::scope::Catalog;
use edd_auth_rules::setting;
use edd_auth_rules::signing_key::SigningKey;
use edd_auth_sidecar::config::{self, ConfigError};
use edd_auth_sidecar::database_url::DatabaseUrl;

use crate::Cli;

/// Every variable that has a value. The others have their defaults.
///
/// # Errors
///
/// [`ConfigError`], which names the flag or the environment variable.
pub(crate) fn of(
    cli: &Cli,
    database_url: &DatabaseUrl,
) -> Result<BTreeMap<String, String>, ConfigError> {
    let mut variables = required(cli, database_url)?;
    for (name, setting, value, check) in optional(cli) {
        if let Some(value) = value.filter(|value| !value.is_empty()) {
            check(&value).map_err(|problem| ConfigError::new(setting, problem))?;
            variables.insert(name.to_owned(), value);
        }
    }
    // Going back to the secret ends the sessions of the key; nobody does that unawares.
    if variables.contains_key("jwt_signing_key_previous")
        && !variables.contains_key("jwt_signing_key")
    {
        return Err(ConfigError::new(
            "JWT_SIGNING_KEY_PREVIOUS",
            "needs JWT_SIGNING_KEY beside it",
        ));
    }
    Ok(variables)
}

fn required(cli: &Cli, url: &DatabaseUrl) -> Result<BTreeMap<String, String>, ConfigError> {
    let (setting, database_url) = (url.name(), url.for_component());
    if let Err(error) = database_url.parse::<tokio_postgres::Config>() {
        // The message names the parameter and not its value.
        return Err(ConfigError::new(setting, format!("is not understood: {error}")));
    }
    let host = url::Url::parse(database_url)
        .ok()
        .and_then(|url| Some(format!("{}:{}", url.host_str()?, url.port().unwrap_or(5432))))
        .ok_or_else(|| ConfigError::new(setting, "names no host"))?;
    let jwt_secret = config::required(
        "JWT_SECRET",
        secret("JWT_SECRET"),
        "what tokens are signed with, at least 32 random bytes",
    )?;
    setting::key(&jwt_secret).map_err(|problem| ConfigError::new("JWT_SECRET", problem))?;
    let admin_username = config::required(
        "ADMIN_USERNAME",
        cli.admin_username.clone(),
        "the user who may use the admin API",
    )?;
    setting::session_ttl(&cli.session_ttl)
        .map_err(|problem| ConfigError::new("-session-ttl", problem))?;
    Ok(BTreeMap::from([
        ("database_url".to_owned(), database_url.to_owned()),
        ("database_host".to_owned(), host),
        ("jwt_secret".to_owned(), jwt_secret),
        ("admin_username".to_owned(), admin_username),
        ("session_ttl".to_owned(), cli.session_ttl.clone()),
    ]))
}

/// A secret has no flag: others can read the arguments of a process.
fn secret(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// Name of the variable, name of the setting, value, and the rule for it.
type Optional = (&'static str, &'static str, Option<String>, fn(&str) -> Result<(), String>);

fn optional(cli: &Cli) -> [Optional; 12] {
    [
        ("jwt_issuer", "JWT_ISSUER", cli.jwt_issuer.clone(), |_| Ok(())),
        ("jwt_audience", "JWT_AUDIENCE", cli.jwt_audience.clone(), |_| Ok(())),
        ("password_min_length", "PASSWORD_MIN_LENGTH", cli.password_min_length.clone(), |text| {
            setting::password_min_length(text).map(drop)
        }),
        ("service_api_key", "SERVICE_API_KEY", secret("SERVICE_API_KEY"), |text| {
            setting::key(text).map(drop)
        }),
        ("scope_catalog", "SCOPE_CATALOG", cli.scope_catalog.clone(), |text| {
            Catalog::parse(text).map(drop)
        }),
        (
            "service_accounts_per_user",
            "SERVICE_ACCOUNTS_PER_USER",
            cli.service_accounts_per_user.clone(),
            |text| setting::limit(text).map(drop),
        ),
        (
            "tokens_per_service_account",
            "TOKENS_PER_SERVICE_ACCOUNT",
            cli.tokens_per_service_account.clone(),
            |text| setting::limit(text).map(drop),
        ),
        ("jwt_secret_previous", "JWT_SECRET_PREVIOUS", secret("JWT_SECRET_PREVIOUS"), |text| {
            setting::key(text).map(drop)
        }),
        ("jwt_signing_key", "JWT_SIGNING_KEY", secret("JWT_SIGNING_KEY"), |text| {
            SigningKey::parse(text).map(drop)
        }),
        (
            "jwt_signing_key_previous",
            "JWT_SIGNING_KEY_PREVIOUS",
            secret("JWT_SIGNING_KEY_PREVIOUS"),
            |text| SigningKey::parse(text).map(drop),
        ),
        (
            "cors_allowed_origins",
            "CORS_ALLOWED_ORIGINS",
            cli.cors_allowed_origins.clone(),
            |text| setting::origins(text).map(drop),
        ),
        ("trusted_proxy_hops", "TRUSTED_PROXY_HOPS", cli.trusted_proxy_hops.clone(), |text| {
            setting::proxy_hops(text).map(drop)
        }),
    ]
}
