//! What can be wrong with a request.

use fastrand::Rng;
use hyper::header::HeaderValue;

use super::Draft;

/// Values of a member, as JSON, or nearly.
const VALUES: [&str; 34] = [
    "null",
    "true",
    "0",
    "-1",
    "1.5",
    "3e2",
    "1e999",
    "-1e-999",
    "2147483648",
    "18446744073709551616",
    "99999999999999999999999999999999",
    "\"\"",
    "\" \"",
    "\"a\"",
    "\"\\u0000\"",
    "\"a\\u0000b\"",
    "\"\\ud800\"",
    "\"\\udc00\\ud800\"",
    "\"\\u202eadmin\"",
    "\"\u{7f}\u{85}\"",
    "\"İẞﬁ\u{fdfa}\"",
    "\"admin\"",
    "\"*\"",
    "\"' or 1=1 --\"",
    "\"never\"",
    "\"999999999999d\"",
    "[]",
    "[\"read\"]",
    "{}",
    "{\"sfs.*\":[\"read\"]}",
    "{\"\":[]}",
    "{\"sfs.a1B2c3.\\u0000\":[\"\\ud83d\"]}",
    "{\"sfs.a1B2c3\":[\"a\"],\"sfs.a1B2c3\":[null]}",
    "NaN",
];

/// Names of members that somebody else has, or nobody.
const NAMES: [&str; 12] = [
    "username",
    "password",
    "is_admin",
    "user_id",
    "public_id",
    "scopes",
    "expires_in",
    "__proto__",
    "",
    "a`b",
    "\0",
    "Username",
];

/// Things that stand in a path, or should not.
const PATHS: [&str; 20] = [
    "%00", "%2f", "%2F", "%2e%2e", "..", ".", "/", "//", "/../", "%ff", "%", "%zz", ";a=b", "*",
    "'", "é", "\\", "zzzzzz", "?", "#",
];

/// Parameters of a query, all of them known to some route.
const PARAMETERS: [&str; 24] = [
    "limit=0",
    "limit=501",
    "limit=-1",
    "limit=+5",
    "limit=1e2",
    "limit=",
    "limit=99999999999999999999",
    "limit=%31",
    "cursor=",
    "cursor=a.b",
    "cursor=eyJsaXN0IjoiIn0.",
    "cursor=%00",
    "q=%00",
    "q=%ff%fe",
    "q=%25_%5c",
    "q=%f0%9f%98%80",
    "user=zzzzzz",
    "user=%27",
    "since=yesterday",
    "since=9999-12-31T23:59:59Z",
    "until=0000-01-01T00:00:00%2B23:59",
    "outcome=maybe",
    "actor=a%0ab",
    "=&&;&%",
];

/// Headers that are looked at somewhere, with values that somebody might send.
const HEADERS: [(&str, &[u8]); 28] = [
    ("if-match", b"*"),
    ("if-match", b"\"1\""),
    ("if-match", b"\"99999999999999999999\""),
    ("if-match", b"W/\"1\", \"2\""),
    ("if-match", b"\"1"),
    ("if-match", b""),
    ("if-match", b"\xff"),
    ("x-request-id", b"web-1.a_B"),
    ("x-request-id", b"a b\"c"),
    ("x-request-id", b"\xc3\xa4"),
    ("x-forwarded-for", b"unknown"),
    ("x-forwarded-for", b"6.6.6.6, 7.7.7.7"),
    ("x-forwarded-for", b",,\t,"),
    ("user-agent", b"\xe2\x80\xae\xc2\x85\tx"),
    ("user-agent", b"\xff\xfe"),
    ("content-type", b"application/json; charset=\"utf-16\""),
    ("content-type", b"text/plain"),
    ("content-type", b"application/x-www-form-urlencoded"),
    ("content-type", b""),
    ("content-encoding", b"gzip"),
    ("accept", b"text/html;q=NaN"),
    ("authorization", b"Basic YTpi"),
    ("authorization", b"Bearer"),
    ("authorization", b"Bearer eyJhbGciOiJub25lIn0.e30."),
    ("cookie", b"__Host-session=x; a=\""),
    ("origin", b"null"),
    ("spin-client-addr", b"6.6.6.6:1"),
    ("transfer-encoding", b"chunked"),
];

const METHODS: [&str; 13] = [
    "GET",
    "HEAD",
    "POST",
    "PUT",
    "PATCH",
    "DELETE",
    "OPTIONS",
    "TRACE",
    "BREW",
    "get",
    "Post",
    "PROPFIND",
    "!#$%&'*+-.^_`|~",
];

/// Bodies, whole.
const BODIES: [&[u8]; 10] = [
    b"",
    b"null",
    b"[]",
    b"{}",
    b"{",
    b"\"\"",
    b"\xef\xbb\xbf{}",
    b"{\"a\":1}{\"a\":1}",
    b"token=a&token=b",
    b"token=%00%ff",
];

fn choice<T: Copy>(rng: &mut Rng, of: &[T]) -> T {
    *rng.choice(of).expect("a list of some")
}

/// Does one thing to the members of a body.
pub(super) fn members(rng: &mut Rng, members: &mut Vec<(String, String)>) {
    let place = rng.usize(..members.len());
    match rng.u8(..8) {
        0 => drop(members.remove(place)),
        1 => members.push(members[place].clone()),
        2 => members.push((choice(rng, &NAMES).to_owned(), choice(rng, &VALUES).to_owned())),
        3 => choice(rng, &NAMES).clone_into(&mut members[place].0),
        4 => {
            let character = choice(rng, &["a", "ä", "\u{fdfa}", "\u{10348}"]);
            let length = choice(rng, &[99, 101, 255, 257, 5_000]);
            members[place].1 = format!("\"{}\"", character.repeat(length));
        }
        5 => {
            let depth = choice(rng, &[3, 127, 129, 5_000]);
            let (open, close) = choice(rng, &[("[", "]"), ("{\"a\":", "}")]);
            members[place].1 = format!("{}1{}", open.repeat(depth), close.repeat(depth));
        }
        _ => choice(rng, &VALUES).clone_into(&mut members[place].1),
    }
    if members.is_empty() {
        members.push(("a".to_owned(), "1".to_owned()));
    }
}

/// Does one thing to a request, which a client could still send.
pub(super) fn draft(rng: &mut Rng, draft: &mut Draft) {
    match rng.u8(..12) {
        0 | 1 => path(rng, draft),
        2 | 3 => {
            let parameter = choice(rng, &PARAMETERS);
            let mark = if draft.target.contains('?') { '&' } else { '?' };
            draft.target = format!("{}{mark}{parameter}", draft.target);
        }
        4 | 5 => {
            let (name, value) = choice(rng, &HEADERS);
            // Two of these, and hyper itself would refuse it.
            if rng.bool() || name == "transfer-encoding" {
                draft.headers.retain(|(other, _)| other != name);
            }
            draft.headers.push((name.to_owned(), value.to_vec()));
        }
        6 | 7 => header(rng, draft),
        8 => choice(rng, &METHODS).clone_into(&mut draft.method),
        9 if rng.u8(..8) == 0 => draft.body.resize(choice(rng, &[65_536, 65_537, 70_000]), b' '),
        9 => draft.body = choice(rng, &BODIES).to_vec(),
        _ => bytes(rng, &mut draft.body),
    }
}

/// Does something to the path or the query.
fn path(rng: &mut Rng, draft: &mut Draft) {
    let before = draft.target.clone();
    let mut places: Vec<usize> = draft.target.char_indices().map(|(place, _)| place).collect();
    places.remove(0);
    let place = rng.choice(&places).copied().unwrap_or(draft.target.len());
    match rng.u8(..4) {
        0 => draft.target.insert_str(place, choice(rng, &PATHS)),
        1 => {
            // A whole segment.
            let start = draft.target[..place].rfind('/').map_or(1, |slash| slash + 1);
            let end =
                draft.target[place..].find(['/', '?']).map_or(draft.target.len(), |n| n + place);
            draft.target.replace_range(start..end.max(start), choice(rng, &PATHS));
        }
        2 => draft.target.truncate(place),
        _ => {
            let mut bytes = draft.target.clone().into_bytes();
            self::bytes(rng, &mut bytes);
            if let Ok(target) = String::from_utf8(bytes) {
                draft.target = target;
            }
        }
    }
    if draft.uri().is_none() {
        draft.target = before;
    }
}

/// Does something to one of the headers that are there.
fn header(rng: &mut Rng, draft: &mut Draft) {
    let place = rng.usize(..draft.headers.len().max(1));
    let Some((name, value)) = draft.headers.get(place).cloned() else {
        return;
    };
    if name == "transfer-encoding" {
        return;
    }
    match rng.u8(..5) {
        0 => drop(draft.headers.remove(place)),
        1 => draft.headers.push((name, value)),
        2 => {
            // More than a token may have, and less than a head: hyper refuses that itself.
            let mut long = value.repeat(20);
            long.truncate(12 * 1024);
            draft.headers[place].1 = long;
        }
        _ => {
            let mut changed = value;
            bytes(rng, &mut changed);
            if HeaderValue::from_bytes(&changed).is_ok() {
                draft.headers[place].1 = changed;
            }
        }
    }
}

/// Does something to some bytes.
pub(super) fn bytes(rng: &mut Rng, bytes: &mut Vec<u8>) {
    let start = rng.usize(..=bytes.len());
    let end = (start + rng.usize(..8)).min(bytes.len());
    match rng.u8(..6) {
        0 => bytes.truncate(start),
        1 => drop(bytes.drain(start..end)),
        2 => {
            let again = bytes[start..end].to_vec();
            drop(bytes.splice(start..start, again));
        }
        3 => {
            let junk: Vec<u8> = (0..rng.usize(1..4)).map(|_| rng.u8(..)).collect();
            drop(bytes.splice(start..end, junk));
        }
        4 => drop(bytes.splice(start..start, [choice(rng, b"\0\"\\{}[],:%&=\r\n\t/.*> \x7f")])),
        _ => {
            if let Some(byte) = bytes.get_mut(start) {
                *byte ^= 1 << rng.u8(..8);
            }
        }
    }
}
