//! `POST /service-accounts/{id}/tokens`: a new token of a service account. The only
//! time that it is shown.
//!
//! 201 with the token; 400 `invalid_json`, `invalid_field`; 401; 403
//! `session_required`; 404 `service_account_not_found`; 409 `limit_reached`; 415.

use std::time::Duration;

use edd_auth_rules::{public_id, text};
use serde::{Deserialize, Serialize};

use super::{ApiToken, TokenInfo, generate};
use crate::authenticate;
use crate::context::Context;
use crate::db::Param;
use crate::error::Error;
use crate::http::{Request, Response};
use crate::input;

const SQL: &str = include_str!("create.sql");

/// Ids that are tried. One is taken with a probability that nobody will see.
const MAX_TRIES: usize = 3;

/// Longest life of a token that ends at all, in days: ten years.
const MAX_DAYS: u32 = 3650;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Input {
    name: String,
    expires_in: Expiry,
}

/// `"30d"`, `"never"` or a number of days. There is no default: a token without
/// an end should be somebody's decision.
#[derive(Deserialize)]
#[serde(untagged, expecting = "expected a number of days, a text like 30d, or never")]
enum Expiry {
    /// JSON has one kind of number: 30.0 is 30.
    Days(f64),
    Text(String),
}

impl Expiry {
    #[expect(clippy::float_cmp, reason = "whole numbers of this size are exact")]
    fn time_to_live(&self) -> Result<Option<Duration>, Error> {
        let days = match self {
            Self::Text(text) if text == "never" => return Ok(None),
            Self::Text(text) => text
                .strip_suffix('d')
                .filter(|number| number.bytes().all(|byte| byte.is_ascii_digit()))
                .and_then(|number| number.parse().ok()),
            Self::Days(days) => (1..=MAX_DAYS).find(|whole| f64::from(*whole) == *days),
        };
        days.filter(|days| (1..=MAX_DAYS).contains(days))
            .map(|days| Some(Duration::from_hours(24 * u64::from(days))))
            .ok_or_else(|| {
                Error::field(
                    "expires_in",
                    format!("must be a number of days from 1 to {MAX_DAYS}, like 30d, or never"),
                )
            })
    }
}

#[derive(Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
enum Output {
    Created { token: TokenInfo },
    LimitReached,
    NotFound,
    Retry,
    NotLive,
}

#[derive(Serialize)]
struct Shown {
    token: String,
    #[serde(flatten)]
    info: TokenInfo,
}

pub(crate) async fn handle(ctx: &Context, request: &Request, id: &str) -> Result<Response, Error> {
    let sid = authenticate::claims(ctx, request)?.sid.to_string();
    let input: Input = input::json(request)?;
    text::check_label(&input.name).map_err(|refusal| Error::field("name", refusal))?;
    let time_to_live = input.expires_in.time_to_live()?;
    let facts = ctx.facts(request);
    let limit = ctx.config.tokens_per_service_account;
    let token = generate();
    let sha256 = ApiToken(&token).sha256();
    for _ in 0..MAX_TRIES {
        let token_id = public_id::generate_long();
        let params = [
            Param::Text(&sid),
            Param::Text(id),
            Param::Text(&token_id),
            Param::Text(&input.name),
            Param::Bytes(&sha256),
            Param::OptionalFloat8(time_to_live.map(|duration| duration.as_secs_f64())),
            Param::Int8(limit),
            Param::Text(&facts),
        ];
        match ctx.db.one(SQL, &params).await? {
            Output::Created { token: info } => {
                let location = format!("/service-accounts/{id}/tokens/{}", info.token_id);
                return Ok(Response::created(location, &Shown { token, info }));
            }
            Output::LimitReached => {
                return Err(Error::LimitReached { what: "tokens of this service account", limit });
            }
            Output::NotFound => return Err(Error::ServiceAccountNotFound),
            Output::NotLive => return Err(Error::InvalidToken),
            Output::Retry => {}
        }
    }
    Err(Error::internal(format!("{MAX_TRIES} random ids were all taken")))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[expect(clippy::option_option, reason = "refused, never, and a number are three things")]
    fn seconds(json: &str) -> Option<Option<u64>> {
        let expiry: Expiry = serde_json::from_str(json).ok()?;
        Some(expiry.time_to_live().ok()?.map(|duration| duration.as_secs()))
    }

    #[test]
    fn expiries() {
        assert_eq!(seconds("\"never\""), Some(None));
        assert_eq!(seconds("\"30d\""), Some(Some(30 * 86_400)));
        assert_eq!(seconds("365"), Some(Some(365 * 86_400)));
        assert_eq!(seconds("3.65e2"), Some(Some(365 * 86_400)));
        for json in
            ["0", "3651", "-1", "1.5", "\"\"", "\"d\"", "\"30\"", "\"+3d\"", "\"30 d\"", "null"]
        {
            assert_eq!(seconds(json), None, "{json}");
        }
    }

    proptest! {
        #[test]
        fn days_mean_the_same_as_a_number_and_as_a_text(
            days in prop_oneof![0_u64..4_000, any::<u64>()],
            hundredths in 1_u32..100,
        ) {
            let expected = (1..=u64::from(MAX_DAYS)).contains(&days).then(|| Some(days * 86_400));
            prop_assert_eq!(seconds(&days.to_string()), expected);
            prop_assert_eq!(seconds(&format!("\"{days}d\"")), expected);
            prop_assert_eq!(seconds(&format!("-{days}")), None);
            prop_assert_eq!(seconds(&format!("{}.{hundredths:02}", days % 3_000)), None);
        }
    }
}
