//! Service accounts: the programs of a user, and what they may do. Their owner
//! manages them with a session; their own tokens can't.

use edd_auth_rules::scope::Scopes;
use serde::{Deserialize, Serialize};

use crate::context::Context;
use crate::error::Error;
use crate::token::Claims;

pub(crate) mod create;
pub(crate) mod delete;
pub(crate) mod list;
pub(crate) mod read;
pub(crate) mod scopes;

/// A service account as the API shows it: what the SQL function
/// `service_account_json` returns.
#[derive(Serialize, Deserialize)]
#[expect(clippy::struct_field_names, reason = "the names of the API")]
struct ServiceAccount {
    service_account_id: String,
    name: String,
    scopes: Scopes,
    version: i64,
    created_at: String,
    updated_at: String,
}

/// Checks the scopes that the owner of a session asks for.
fn check_scopes(ctx: &Context, owner: &Claims, scopes: &Scopes) -> Result<(), Error> {
    scopes
        .check(&owner.sub, ctx.config.scope_catalog.as_ref())
        .map_err(|refusal| Error::field("scopes", refusal))
}
