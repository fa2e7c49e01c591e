//! `spin.toml`: the variables of the component and the hosts it may connect to.
//!
//! The same file that Spin reads, so that the two hosts can't differ.

use std::collections::BTreeMap;

use anyhow::{Context, bail};
use serde::Deserialize;

/// The manifest of this repository.
const SPIN_TOML: &str = include_str!("../../../spin.toml");

/// The component of the manifest that is hosted.
const COMPONENT: &str = "auth";

#[derive(Deserialize)]
struct Manifest {
    variables: BTreeMap<String, Variable>,
    component: BTreeMap<String, Component>,
}

#[derive(Deserialize)]
struct Variable {
    default: Option<String>,
    #[serde(default)]
    required: bool,
}

#[derive(Deserialize)]
struct Component {
    allowed_outbound_hosts: Vec<String>,
    variables: BTreeMap<String, String>,
}

/// What the component gets, with every template filled in.
#[derive(Debug)]
pub struct Environment {
    /// The component's variables.
    pub variables: BTreeMap<String, String>,
    /// Where it may connect to.
    pub allowed_hosts: AllowedHosts,
}

impl Environment {
    /// Fills the manifest in with values for the application's variables.
    ///
    /// # Errors
    ///
    /// When a value is for no variable, a required variable has none, or the
    /// manifest is malformed.
    pub fn new(values: &BTreeMap<String, String>) -> anyhow::Result<Self> {
        Self::from_manifest(SPIN_TOML, values)
    }

    fn from_manifest(toml: &str, values: &BTreeMap<String, String>) -> anyhow::Result<Self> {
        let manifest: Manifest = toml::from_str(toml).context("spin.toml")?;
        if let Some(unknown) = values.keys().find(|name| !manifest.variables.contains_key(*name)) {
            bail!("spin.toml has no variable `{unknown}`");
        }
        let mut resolved = BTreeMap::new();
        for (name, variable) in &manifest.variables {
            match values.get(name).or(variable.default.as_ref()) {
                Some(value) => {
                    resolved.insert(name.as_str(), value.as_str());
                }
                None if variable.required => bail!("the variable `{name}` has no value"),
                None => bail!("spin.toml: the variable `{name}` is neither required nor defaulted"),
            }
        }
        let component = manifest.component.get(COMPONENT).context("spin.toml has no component")?;
        let variables = component
            .variables
            .iter()
            .map(|(name, template)| Ok((name.clone(), expand(template, &resolved)?)))
            .collect::<anyhow::Result<_>>()?;
        let allowed_hosts = component
            .allowed_outbound_hosts
            .iter()
            .map(|template| Pattern::parse(&expand(template, &resolved)?))
            .collect::<anyhow::Result<_>>()?;
        Ok(Self { variables, allowed_hosts: AllowedHosts(allowed_hosts) })
    }
}

/// Replaces each `{{ name }}`.
fn expand(template: &str, values: &BTreeMap<&str, &str>) -> anyhow::Result<String> {
    let mut text = String::new();
    let mut rest = template;
    while let Some((before, after)) = rest.split_once("{{") {
        let (name, after) = after.split_once("}}").context("spin.toml: `{{` without `}}`")?;
        let name = name.trim();
        let value = values.get(name).with_context(|| {
            format!("spin.toml: a template names `{name}`, which is no variable")
        })?;
        text.push_str(before);
        text.push_str(value);
        rest = after;
    }
    text.push_str(rest);
    Ok(text)
}

/// The hosts that the component may connect to. Nothing that is not listed.
#[derive(Debug)]
pub struct AllowedHosts(Vec<Pattern>);

#[derive(Debug)]
struct Pattern {
    host: String,
    port: Option<u16>,
}

impl Pattern {
    /// `postgres://HOST[:PORT]`, where the port is 5432 when it is not there and
    /// any port when it is `*`. The host is compared as it is written, as Spin
    /// does: `localhost` is not `127.0.0.1`.
    fn parse(text: &str) -> anyhow::Result<Self> {
        let invalid = || format!("spin.toml: `{text}` in allowed_outbound_hosts is not understood");
        let address = text.strip_prefix("postgres://").with_context(invalid)?;
        let (host, port) = match address.rsplit_once(':') {
            Some((host, "*")) => (host, None),
            Some((host, port)) if !port.ends_with(']') => {
                (host, Some(port.parse().with_context(invalid)?))
            }
            _ => (address, Some(5432)),
        };
        if host.is_empty() || host.contains('*') {
            bail!(invalid());
        }
        Ok(Self { host: host.trim_matches(['[', ']']).to_owned(), port })
    }
}

impl AllowedHosts {
    /// Whether the component may connect to a port of a host.
    #[must_use]
    pub fn permit(&self, host: &str, port: u16) -> bool {
        self.0.iter().any(|pattern| {
            pattern.host == host && pattern.port.is_none_or(|allowed| allowed == port)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        let required = [
            ("database_url", "postgres://db/auth"),
            ("jwt_secret", "0123456789abcdef0123456789abcdef"),
            ("admin_username", "admin"),
        ];
        required
            .iter()
            .chain(pairs)
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect()
    }

    #[test]
    fn the_manifest_is_filled_in() {
        let environment = Environment::new(&values(&[("session_ttl", "1h")])).expect("complete");
        assert_eq!(environment.variables["database_url"], "postgres://db/auth");
        assert_eq!(environment.variables["session_ttl"], "1h");
        assert_eq!(environment.variables["password_min_length"], "15");
    }

    #[test]
    fn only_the_database_is_allowed() {
        let allowed = |database_host: &str| {
            Environment::new(&values(&[("database_host", database_host)]))
                .expect("complete")
                .allowed_hosts
        };
        let with_port = allowed("127.0.0.1:5999");
        assert!(with_port.permit("127.0.0.1", 5999));
        assert!(!with_port.permit("127.0.0.1", 5432));
        assert!(!with_port.permit("localhost", 5999));
        assert!(allowed("db.example").permit("db.example", 5432));
        assert!(!allowed("db.example").permit("db.example", 5433));
        assert!(allowed("db.example:*").permit("db.example", 1));
        assert!(allowed("[::1]:5432").permit("::1", 5432));
    }

    #[test]
    fn a_missing_or_unknown_value_is_named() {
        let mut incomplete = values(&[]);
        incomplete.remove("jwt_secret");
        let error = Environment::new(&incomplete).expect_err("incomplete").to_string();
        assert!(error.contains("jwt_secret"), "{error}");
        let error = Environment::new(&values(&[("jwt_secrets", "x")])).expect_err("unknown");
        assert!(error.to_string().contains("jwt_secrets"), "{error}");
    }
}
