//! Reading what clients send: JSON bodies and query strings.

use edd_auth_rules::member::{self, Fault, shown};
use serde::de::DeserializeOwned;

use crate::error::Error;
use crate::http::Request;

/// Reads the body as a JSON object of type `T`.
///
/// # Errors
///
/// [`Error::UnsupportedMediaType`], [`Error::InvalidJson`], or
/// [`Error::InvalidField`] naming the member that is missing, unknown or of the
/// wrong type.
pub(crate) fn json<T: DeserializeOwned>(request: &Request) -> Result<T, Error> {
    if !has_media_type(request, "application/json") {
        return Err(Error::UnsupportedMediaType("application/json"));
    }
    // serde would take an array as the fields of a struct in their order.
    let first = request.body.iter().find(|byte| !byte.is_ascii_whitespace());
    if first.is_some_and(|byte| *byte != b'{') {
        return Err(Error::InvalidJson("is not a JSON object".to_owned()));
    }
    let mut deserializer = serde_json::Deserializer::from_slice(&request.body);
    let value = serde_path_to_error::deserialize(&mut deserializer).map_err(|error| {
        let path = error.path().to_string();
        explain(&path, error.inner())
    })?;
    deserializer.end().map_err(|error| explain(".", &error))?;
    Ok(value)
}

/// Whether the body is of this media type, with or without parameters (RFC 9110,
/// section 8.3).
fn has_media_type(request: &Request, media_type: &str) -> bool {
    request.header("content-type").is_some_and(|value| {
        let essence = value.split(';').next().unwrap_or_default();
        essence.trim().eq_ignore_ascii_case(media_type)
    })
}

/// serde's messages quote the offending value, which may be a password: only
/// the part that says what was expected is passed on.
fn explain(path: &str, error: &serde_json::Error) -> Error {
    if !error.is_data() {
        return Error::InvalidJson(format!(
            "is not valid JSON (line {}, column {})",
            error.line(),
            error.column()
        ));
    }
    if let Some((fault, name)) = member::fault(error) {
        return match fault {
            Fault::Missing => Error::field(&name, "is missing"),
            Fault::Twice => Error::field(&name, "is given twice"),
            Fault::Unknown => Error::field(shown(&name), "is not a field of this request"),
        };
    }
    let message = error.to_string();
    let expected = message
        .rsplit_once("expected ")
        .map_or("something else", |(_, rest)| rest.split(" at line").next().unwrap_or(rest));
    Error::field(shown(path), format!("must be {expected}"))
}

/// The parameters of a query string or of a form, decoded (WHATWG URL, section
/// 5.1).
///
/// # Errors
///
/// [`Error::InvalidField`] when a parameter that is asked for occurs twice or
/// holds a control character.
pub(crate) struct Query(Vec<(String, String)>);

impl Query {
    /// Parses the query of a request.
    pub(crate) fn of(request: &Request) -> Self {
        Self(form_urlencoded::parse(request.query.as_bytes()).into_owned().collect())
    }

    /// Parses a body of type `application/x-www-form-urlencoded`.
    ///
    /// # Errors
    ///
    /// [`Error::UnsupportedMediaType`].
    pub(crate) fn of_form(request: &Request) -> Result<Self, Error> {
        const FORM: &str = "application/x-www-form-urlencoded";
        if !has_media_type(request, FORM) {
            return Err(Error::UnsupportedMediaType(FORM));
        }
        Ok(Self(form_urlencoded::parse(&request.body).into_owned().collect()))
    }

    /// The value of a parameter, if it is there. Fit for a text parameter of SQL.
    pub(crate) fn get(&self, name: &str) -> Result<Option<&str>, Error> {
        let value = self.get_any(name)?;
        if value.is_some_and(|value| value.chars().any(char::is_control)) {
            return Err(Error::field(name, "must not contain control characters"));
        }
        Ok(value)
    }

    /// The same, whatever characters it has.
    pub(crate) fn get_any(&self, name: &str) -> Result<Option<&str>, Error> {
        let mut values = self.0.iter().filter(|(key, _)| key == name).map(|(_, value)| value);
        let value = values.next();
        if values.next().is_some() {
            return Err(Error::field(name, "is given twice"));
        }
        Ok(value.map(String::as_str))
    }
}

/// Turns a member that may be absent, null or a value into
/// `None`, `Some(None)` or `Some(Some(value))`: JSON Merge Patch (RFC 7396)
/// tells the three apart, and an `Option` alone does not.
#[expect(clippy::option_option, reason = "absent, null and a value are three things")]
pub(crate) fn nullable<'de, T, D>(deserializer: D) -> Result<Option<Option<T>>, D::Error>
where
    T: serde::Deserialize<'de>,
    D: serde::Deserializer<'de>,
{
    serde::Deserialize::deserialize(deserializer).map(Some)
}

/// A member that may be absent but not null.
pub(crate) fn present<'de, T, D>(deserializer: D) -> Result<Option<T>, D::Error>
where
    T: serde::Deserialize<'de>,
    D: serde::Deserializer<'de>,
{
    T::deserialize(deserializer).map(Some)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;
    use crate::fuzz::BODIES;

    #[derive(Debug, serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Login {
        #[expect(dead_code, reason = "only its errors are looked at")]
        username: String,
        #[expect(dead_code, reason = "only its errors are looked at")]
        password: String,
    }

    fn error_of(content_type: &str, body: &str) -> Error {
        let request = Request::of_test(&[("content-type", content_type.as_bytes())], body);
        json::<Login>(&request).expect_err("refused")
    }

    #[track_caller]
    fn assert_field(body: &str, expected_field: &str, expected_reason: &str) {
        match error_of("application/json; charset=utf-8", body) {
            Error::InvalidField { field, reason } => {
                assert_eq!((field.as_str(), reason.as_str()), (expected_field, expected_reason));
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_field_at_fault_is_named_and_its_value_is_not() {
        assert_field(r#"{"username":"a"}"#, "password", "is missing");
        assert_field(r#"{"username":"a","password":12345}"#, "password", "must be a string");
        assert_field(r#"{"username":null,"password":"b"}"#, "username", "must be a string");
        assert_field(r#"{"username":"a","username":"b"}"#, "username", "is given twice");
        assert_field(
            r#"{"username":"a","password":"b","is_admin":true}"#,
            "is_admin",
            "is not a field of this request",
        );
    }

    #[test]
    fn a_secret_in_place_of_a_name_is_not_shown() {
        for secret in
            ["correct horse", "hunter-2", "eyJ0eXAiOiJzZXNzaW9uK2p3dCIsImFsZyI6IkhTMjU2In0.e30.x"]
        {
            let body = format!(r#"{{"{secret}":"a"}}"#);
            assert_field(&body, "…", "is not a field of this request");
            assert_eq!(shown(&format!("scopes.{secret}[0]")), "scopes");
        }
        assert_eq!(shown("displayName"), "displayName");
    }

    #[test]
    fn what_is_not_a_json_object_is_said_to_be_none() {
        for body in ["", "{", "[\"a\",\"b\"]", "\"a\"", "{\"username\":\"\u{1}\"}"] {
            assert!(
                matches!(error_of("application/json", body), Error::InvalidJson(_)),
                "{body:?}: {:?}",
                error_of("application/json", body)
            );
        }
        let trailing = r#"{"username":"a","password":"b"} x"#;
        assert!(matches!(error_of("application/json", trailing), Error::InvalidJson(_)));
        for media_type in
            ["", "text/plain", "application/jsonp", "application/x-www-form-urlencoded"]
        {
            assert!(matches!(error_of(media_type, "{}"), Error::UnsupportedMediaType(_)));
        }
    }

    /// A member as `docs/openapi.yaml` describes it, as far as types go.
    struct Member {
        name: &'static str,
        required: bool,
        accepts: fn(&Value) -> bool,
    }

    const fn required(name: &'static str, accepts: fn(&Value) -> bool) -> Member {
        Member { name, required: true, accepts }
    }

    const fn optional(name: &'static str, accepts: fn(&Value) -> bool) -> Member {
        Member { name, required: false, accepts }
    }

    /// The members of each of [`BODIES`].
    const MEMBERS: [&[Member]; BODIES.len()] = [
        &[
            required("username", Value::is_string),
            required("password", Value::is_string),
            optional("cookie", Value::is_boolean),
        ],
        &[required("display_name", is_nullable_text)],
        &[
            required("current_password", Value::is_string),
            required("new_password", Value::is_string),
        ],
        &[
            required("username", Value::is_string),
            required("password", Value::is_string),
            optional("display_name", is_nullable_text),
        ],
        &[
            optional("display_name", is_nullable_text),
            optional("username", Value::is_string),
            optional("disabled", Value::is_boolean),
            optional("is_admin", Value::is_boolean),
        ],
        &[required("new_password", Value::is_string)],
        &[required("name", Value::is_string), required("scopes", is_scopes)],
        &[required("scopes", is_scopes)],
        &[
            required("name", Value::is_string),
            required("expires_in", |v| v.is_string() || v.is_number()),
        ],
    ];

    fn is_nullable_text(value: &Value) -> bool {
        value.is_string() || value.is_null()
    }

    fn is_scopes(value: &Value) -> bool {
        let texts = |v: &Value| v.as_array().is_some_and(|list| list.iter().all(Value::is_string));
        value.as_object().is_some_and(|scopes| scopes.values().all(texts))
    }

    /// Any value. Its texts are what nobody but the client may see.
    fn a_value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            4 => "s3cret ([a-z \"`\\\\]|expected |, )*".prop_map(Value::from),
            1 => Just(Value::Null),
            1 => any::<bool>().prop_map(Value::from),
            1 => any::<i64>().prop_map(Value::from),
            1 => any::<f64>().prop_map(Value::from),
        ];
        leaf.prop_recursive(3, 12, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::hash_map("[a-z.]{0,4}", inner, 0..4)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    /// One of [`BODIES`], and members that may be its own.
    fn a_body() -> impl Strategy<Value = (usize, Vec<(String, Value)>)> {
        (0..BODIES.len()).prop_flat_map(|place| {
            let names: Vec<&str> = MEMBERS[place].iter().map(|member| member.name).collect();
            let all: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
            let name = prop_oneof![
                9 => prop::sample::select(all),
                1 => "[a-z`, \n]{0,8}(`, expected )?",
            ];
            (Just(place), prop::collection::vec((name, a_value()), 0..5))
        })
    }

    fn request_of(body: &[u8]) -> Request {
        let head = Request::of_test(&[("content-type", b"application/json")], "");
        Request { body: body.to_vec(), ..head }
    }

    /// What is wrong with a body: the names of the members at fault.
    fn faults<'a>(members: &[Member], body: &'a [(String, Value)]) -> Vec<&'a str>
    where
        'static: 'a,
    {
        let missing = members
            .iter()
            .filter(|member| member.required && body.iter().all(|(name, _)| name != member.name));
        let mut faults: Vec<&str> = missing.map(|member| member.name).collect();
        for (place, (name, value)) in body.iter().enumerate() {
            let twice = body[..place].iter().any(|(before, _)| before == name);
            let member = members.iter().find(|member| member.name == name);
            if twice || !member.is_some_and(|member| (member.accepts)(value)) {
                faults.push(name);
            }
        }
        faults
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        #[test]
        fn every_body_is_taken_or_its_fault_is_named_without_a_value((place, body) in a_body()) {
            let (verb, read) = BODIES[place];
            let members: Vec<String> =
                body.iter().map(|(name, value)| format!("{}:{value}", Value::from(name.as_str()))).collect();
            let text = format!("{{{}}}", members.join(","));
            let faults = faults(MEMBERS[place], &body);
            match read(&request_of(text.as_bytes())) {
                Ok(()) => prop_assert!(faults.is_empty(), "{} has taken {}", verb, text),
                Err(Error::InvalidField { field, reason }) => {
                    // What can be no name is not shown.
                    let named = faults.iter().any(|fault| shown(fault) == field);
                    prop_assert!(named, "{}: {} in {}", verb, field, text);
                    prop_assert!(!field.contains("s3cret") && !reason.contains("s3cret"));
                }
                Err(other) => prop_assert!(false, "{}: {:?} of {}", verb, other, text),
            }
        }

        #[test]
        fn what_is_taken_is_a_json_object_and_no_more(
            (place, body) in a_body(),
            splice in any::<prop::sample::Index>(),
            junk in prop::collection::vec(any::<u8>(), 0..3),
            cut in 0_usize..3,
        ) {
            let (verb, read) = BODIES[place];
            let object: serde_json::Map<String, Value> = body.into_iter().collect();
            let mut bytes = Value::from(object).to_string().into_bytes();
            let start = splice.index(bytes.len() + 1);
            bytes.splice(start..(start + cut).min(bytes.len()), junk);
            if read(&request_of(&bytes)).is_ok() {
                let value: Option<Value> = serde_json::from_slice(&bytes).ok();
                prop_assert!(value.is_some_and(|value| value.is_object()), "{}", verb);
            }
        }

        #[test]
        fn a_parameter_is_given_once_or_not_at_all(
            pairs in prop::collection::vec(("[ab]", "[a-z&=+%\n]{0,6}|.{0,6}"), 0..4),
        ) {
            let mut text = form_urlencoded::Serializer::new(String::new());
            let query = text.extend_pairs(&pairs).finish();
            let query = Query::of(&Request { query, ..Request::of_test(&[], "") });
            let of_a: Vec<&str> =
                pairs.iter().filter(|(name, _)| name == "a").map(|(_, value)| value.as_str()).collect();
            let expected = match of_a.as_slice() {
                [] => Some(None),
                [value] if !value.contains(char::is_control) => Some(Some(*value)),
                _ => None,
            };
            prop_assert_eq!(query.get("a").ok(), expected);
        }
    }
}
