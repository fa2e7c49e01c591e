//! Which member of a JSON object is at fault, of what serde says about it.

/// The longest name of a member that is shown to whoever has sent it.
const MAX_SHOWN_CHARS: usize = 32;

/// What is wrong with a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It has to be there.
    Missing,
    /// It is there twice.
    Twice,
    /// The object has no such member.
    Unknown,
}

/// The fault that an error is about, and the name of the member as it was sent: see
/// [`shown`]. `None` for every other error.
#[must_use]
pub fn fault(error: &serde_json::Error) -> Option<(Fault, String)> {
    let message = error.to_string();
    let own = |prefix: &str| message.strip_prefix(prefix)?.split('`').next().map(str::to_owned);
    // The sender's own name may hold what serde puts behind it; serde's comes last.
    let senders = |prefix: &str| {
        let rest = message.strip_prefix(prefix)?;
        Some(rest.rsplit_once("`, expected ").map_or(rest, |(name, _)| name).to_owned())
    };
    own("missing field `")
        .map(|name| (Fault::Missing, name))
        .or_else(|| own("duplicate field `").map(|name| (Fault::Twice, name)))
        .or_else(|| senders("unknown field `").map(|name| (Fault::Unknown, name)))
}

/// The first member of a path, if it can be one: names here are short, of letters and
/// `_`. Tokens, hashes and keys are not, nor most passwords: where a sender has mixed up
/// names and values, they do not come back, into a log perhaps.
#[must_use]
pub fn shown(path: &str) -> &str {
    let name = path.split(['.', '[']).next().unwrap_or_default();
    let fits = |byte: u8| byte.is_ascii_alphabetic() || byte == b'_';
    if (1..=MAX_SHOWN_CHARS).contains(&name.len()) && name.bytes().all(fits) { name } else { "…" }
}
