//! The documents that tools read, held against what happens: every response of a
//! test against `docs/openapi.yaml`, every event against `docs/asyncapi.yaml`.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use edd_auth_events::Kind;
use hyper::HeaderMap;
use jsonschema::Validator;
use serde_json::{Value, json};

use crate::harness::{Message, Service};

static OPENAPI: LazyLock<Value> =
    LazyLock::new(|| read("openapi.yaml", include_str!("../../docs/openapi.yaml")));
static ASYNCAPI: LazyLock<Value> =
    LazyLock::new(|| read("asyncapi.yaml", include_str!("../../docs/asyncapi.yaml")));

fn read(name: &str, yaml: &str) -> Value {
    serde_saphyr::from_str(yaml).unwrap_or_else(|error| panic!("docs/{name}: {error}"))
}

/// What a document has at a JSON pointer, and behind the references there.
fn resolve<'a>(document: &'a Value, pointer: &str) -> Option<(String, &'a Value)> {
    let mut pointer = pointer.to_owned();
    loop {
        let value = document.pointer(&pointer)?;
        match value.get("$ref").and_then(Value::as_str) {
            Some(reference) => reference.trim_start_matches('#').clone_into(&mut pointer),
            None => return Some((pointer, value)),
        }
    }
}

/// Checks a value against the schema at a pointer of a document.
fn check(document: &Value, name: &str, pointer: &str, value: &Value) {
    static VALIDATORS: LazyLock<Mutex<HashMap<String, Arc<Validator>>>> =
        LazyLock::new(Mutex::default);
    let validator = {
        let mut validators = VALIDATORS.lock().unwrap_or_else(PoisonError::into_inner);
        let compile = || {
            let mut schema = document.clone();
            // A reference is a URI, where these two have to be escaped.
            let fragment = pointer.replace('{', "%7B").replace('}', "%7D");
            schema["$ref"] = json!(format!("#{fragment}"));
            let options = jsonschema::options().with_draft(jsonschema::Draft::Draft202012);
            Arc::new(options.should_validate_formats(true).build(&schema).expect("a schema"))
        };
        Arc::clone(validators.entry(format!("{name} {pointer}")).or_insert_with(compile))
    };
    let errors: Vec<String> = validator
        .iter_errors(value)
        .map(|error| format!("{} at {}", error, error.instance_path()))
        .collect();
    assert!(errors.is_empty(), "docs/{name} {pointer}: {errors:#?}\n{value:#}");
}

fn escaped(token: &str) -> String {
    token.replace('~', "~0").replace('/', "~1")
}

/// The path of the document that a request's path is one of: the one without
/// parameters first.
fn template(path: &str) -> Option<&'static str> {
    let path = path.split('?').next().unwrap_or_default();
    let fits = |template: &str| {
        let (template, path) = (template.split('/'), path.split('/'));
        template.clone().count() == path.clone().count()
            && template.zip(path).all(|(template, segment)| {
                template == segment || (template.starts_with('{') && !segment.is_empty())
            })
    };
    let paths = OPENAPI["paths"].as_object().expect("paths").keys();
    paths
        .map(String::as_str)
        .filter(|template| fits(template))
        .min_by_key(|t| t.matches('{').count())
}

/// Codes of requests that are refused before anybody looks at their path and method.
const OF_BROKEN_REQUESTS: [&str; 2] = ["header_not_text", "body_too_large"];

/// Checks a response against the document: its status, headers, media type and
/// body have to be there.
pub(crate) fn check_response(
    method: &str,
    path: &str,
    status: u16,
    headers: &HeaderMap,
    body: &Value,
) {
    let broken = body["code"].as_str().is_some_and(|code| OF_BROKEN_REQUESTS.contains(&code));
    let Some(template) = template(path) else {
        let undocumented = body["code"] == "not_found" || broken || status >= 500;
        assert!(undocumented, "{path} is not documented: {body}");
        return;
    };
    let operation = format!("/paths/{}/{}", escaped(template), method.to_ascii_lowercase());
    if OPENAPI.pointer(&operation).is_none() {
        // HEAD is GET, and preflights are described for all paths at once.
        let is_preflight = method == "OPTIONS" && matches!(status, 204 | 403);
        let undocumented = status == 405
            || method == "HEAD"
            || is_preflight
            || body["code"] == "not_found"
            || broken;
        assert!(undocumented, "{method} {template} is not documented: {status} {body}");
        return;
    }
    let (pointer, response) = resolve(&OPENAPI, &format!("{operation}/responses/{status}"))
        .unwrap_or_else(|| panic!("{method} {template} may not answer {status}: {body}"));
    for name in response["headers"].as_object().into_iter().flat_map(|headers| headers.keys()) {
        let at = format!("{pointer}/headers/{}", escaped(name));
        let (at, header) = resolve(&OPENAPI, &at).expect("a header");
        let Some(value) = headers.get(name) else {
            assert!(header["required"] != true, "{method} {template} {status}: no {name}");
            continue;
        };
        let text = value.to_str().expect("text");
        let (_, schema) = resolve(&OPENAPI, &format!("{at}/schema")).expect("a schema");
        let value = match schema["type"].as_str() {
            Some("integer") => json!(text.parse::<i64>().expect("a number")),
            _ => json!(text),
        };
        check(&OPENAPI, "openapi.yaml", &format!("{at}/schema"), &value);
    }
    let media_type = headers.get("content-type").map(|value| {
        let text = value.to_str().expect("text");
        text.split(';').next().unwrap_or_default().to_owned()
    });
    let content = response["content"].as_object();
    assert_eq!(content.is_some(), media_type.is_some(), "{method} {template} {status}: a body");
    if let Some(media_type) = media_type {
        let schema = format!("{pointer}/content/{}/schema", escaped(&media_type));
        assert!(OPENAPI.pointer(&schema).is_some(), "{method} {template}: {schema} is missing");
        check(&OPENAPI, "openapi.yaml", &schema, body);
    }
}

/// Checks an event against the document: the channel of its subject, headers and
/// payload.
pub(crate) fn check_event(message: &Message) {
    let fits = |address: &str| {
        let (address, subject) = (address.split('.'), message.subject.split('.'));
        address.clone().count() == subject.clone().count()
            && address.zip(subject).all(|(a, s)| a == s || a.starts_with('{'))
    };
    let channels = ASYNCAPI["channels"].as_object().expect("channels");
    let (name, channel) = channels
        .iter()
        .find(|(_, channel)| channel["address"].as_str().is_some_and(fits))
        .unwrap_or_else(|| panic!("{} is not documented", message.subject));
    let key = channel["messages"].as_object().and_then(|all| all.keys().next()).expect("a message");
    let at = format!("/channels/{}/messages/{}", escaped(name), escaped(key));
    let (pointer, _) = resolve(&ASYNCAPI, &at).expect("a message");
    check(&ASYNCAPI, "asyncapi.yaml", &format!("{pointer}/payload"), &message.payload);
    check(&ASYNCAPI, "asyncapi.yaml", &format!("{pointer}/headers"), &json!(message.headers));
}

/// The method, in capitals, and the path of every operation.
pub(crate) fn operations() -> Vec<(String, &'static str)> {
    let paths = OPENAPI["paths"].as_object().expect("paths");
    let of_path = paths.iter().flat_map(|(path, operations)| {
        let keys = operations.as_object().expect("operations").keys();
        keys.map(move |key| (key.to_uppercase(), path.as_str()))
    });
    of_path
        .filter(|(key, _)| !matches!(key.as_str(), "PARAMETERS" | "SUMMARY" | "DESCRIPTION"))
        .collect()
}

#[tokio::test]
async fn the_api_serves_its_own_document() {
    let service = Service::start().await;
    let reply = service.get("/openapi.json").send().await;
    assert_eq!((reply.status, &reply.body), (200, &*OPENAPI));
}

/// Whatever is documented is there: no path is a 404, no method a 405.
#[tokio::test]
async fn every_documented_route_exists_and_says_the_same_of_its_methods() {
    let service = Service::start().await;
    for (path, operations) in OPENAPI["paths"].as_object().expect("paths") {
        let request_path = path.replace("{id}", "zzzzzz").replace("{token_id}", "zzzzzz");
        let reply = service.request("BREW", &request_path).send().await;
        assert_eq!(reply.status, 405, "{path}");
        let allowed: BTreeSet<String> =
            reply.header("allow").expect("Allow").split(", ").map(str::to_lowercase).collect();
        let mut documented: BTreeSet<String> = operations
            .as_object()
            .expect("operations")
            .keys()
            .filter(|key| !matches!(key.as_str(), "parameters" | "summary" | "description"))
            .cloned()
            .collect();
        if documented.contains("get") {
            documented.insert("head".to_owned());
        }
        assert_eq!(allowed, documented, "{path}");
    }
}

#[test]
fn every_route_is_documented() {
    let source = include_str!("../../src/router.rs");
    let find = source.split("fn find").nth(1).and_then(|rest| rest.split("\n    }\n").next());
    let routes = find.expect("the function").matches("] => Self::").count();
    assert_eq!(routes, OPENAPI["paths"].as_object().expect("paths").len());
}

#[test]
fn every_kind_of_event_is_documented_and_nothing_else() {
    let channels = ASYNCAPI["channels"].as_object().expect("channels");
    let golden: Vec<Value> = Kind::ALL
        .into_iter()
        .map(|kind| {
            let path = xtask::root().join(format!("crates/events/tests/golden/{kind}.json"));
            let text = std::fs::read_to_string(path).expect("a golden file");
            serde_json::from_str(&text).expect("JSON")
        })
        .collect();
    assert_eq!(channels.len(), golden.len());
    for message in &golden {
        let headers = message["headers"].as_object().expect("headers");
        check_event(&Message {
            subject: message["subject"].as_str().expect("a subject").to_owned(),
            headers: headers
                .iter()
                .map(|(name, value)| (name.clone(), value.as_str().expect("text").to_owned()))
                .collect(),
            payload: message["payload"].clone(),
        });
    }
}
