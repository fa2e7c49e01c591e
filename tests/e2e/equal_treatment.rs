//! A refused login does not tell whether there is a user of that name: not by what
//! it says, and not by what it costs. `cargo xtask bench timing` looks at the clock;
//! these tests count, which no busy machine disturbs.

use argon2::{Algorithm, Argon2, Params, PasswordHasher, Version};
use edd_auth_rules::password::{MEMORY_KIB, PASSES, Password};
use http_body_util::Full;
use hyper::body::Bytes;
use serde_json::json;

use crate::harness::{PASSWORD, Service};
use crate::meter::Meter;

const WRONG: &str = "not the password of anybody";

/// Logins that are refused: who that is, the name and the password.
const REFUSED: [(&str, &str, &str); 4] = [
    ("an unknown user", "nobody", PASSWORD),
    ("a wrong password", "ada", WRONG),
    ("a disabled user", "eve", PASSWORD),
    ("a disabled user with a wrong password", "eve", WRONG),
];

/// Makes a hash of the password of the tests.
type MakeHash = fn() -> String;

/// How every user's password is hashed, one after the other.
const HASHES: [(&str, MakeHash); 3] = [
    ("today's Argon2id", todays_argon2id),
    ("Argon2id with other parameters", other_argon2id),
    ("bcrypt", bcrypt),
];

fn todays_argon2id() -> String {
    Password::presented(PASSWORD).expect("acceptable").hash().expect("a hash")
}

/// Another of OWASP's settings, which takes longer.
fn other_argon2id() -> String {
    let params = Params::new(19_456, 2, 1, None).expect("parameters");
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
        .hash_password(PASSWORD.as_bytes())
        .expect("a hash")
        .to_string()
}

fn bcrypt() -> String {
    bcrypt::hash_with_salt(PASSWORD, 7, *b"0123456789abcdef").expect("a hash").to_string()
}

/// One that is replaced on success, and takes as long as today's.
fn shorter_argon2id() -> String {
    let params = Params::new(MEMORY_KIB, PASSES, 1, Some(16)).expect("parameters");
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
        .hash_password(PASSWORD.as_bytes())
        .expect("a hash")
        .to_string()
}

/// A service behind a proxy, with the users ada and eve, who is disabled.
async fn service_where_all_have(hash: &str) -> Service {
    let service = Service::start_with(&[("trusted_proxy_hops", "1")]).await;
    let admin = service.login_admin().await;
    service.create_user(&admin, "ada").await;
    let eve = service.create_user(&admin, "eve").await;
    let path = format!("/admin/users/{}", eve["public_id"].as_str().expect("an id"));
    let disabled =
        service.patch(&path).bearer(&admin).json(&json!({"disabled": true})).send().await;
    assert_eq!(disabled.status, 200, "{}", disabled.body);
    set_hashes(&service, hash).await;
    service
}

async fn set_hashes(service: &Service, hash: &str) {
    sqlx::query("update users set password_hash = $1")
        .bind(hash)
        .execute(&mut service.database().await)
        .await
        .expect("updated");
}

#[tokio::test]
async fn refusals_look_the_same() {
    for (algorithm, hash) in HASHES {
        let service = service_where_all_have(&hash()).await;
        // As many as are counted before a wait is.
        for attempt in 1..=5 {
            let mut seen = Vec::new();
            for (place, (who, username, password)) in REFUSED.into_iter().enumerate() {
                let reply = service
                    .post("/login")
                    .header("x-forwarded-for", format!("192.0.2.{place}"))
                    .json(&json!({"username": username, "password": password}))
                    .send()
                    .await;
                reply.assert_problem(401, "invalid_credentials");
                seen.push((who, reply));
            }
            let first = seen[0].1.appearance();
            for (who, this) in &seen {
                let this = this.appearance();
                assert_eq!(this, first, "{who}, {algorithm}, attempt {attempt}");
            }
        }
    }
}

/// A login as the host passes it on.
fn login(username: &str, password: &str) -> hyper::Request<Full<Bytes>> {
    let body = json!({"username": username, "password": password}).to_string();
    hyper::Request::post("http://auth.test/login")
        .header("host", "auth.test")
        .header("content-type", "application/json")
        .header("spin-client-addr", "192.0.2.1:50000")
        .body(Full::new(Bytes::from(body)))
        .expect("a request")
}

#[tokio::test]
async fn refusals_cost_the_same_statements_and_the_same_hashes() {
    for (algorithm, hash) in HASHES {
        let service = service_where_all_have(&hash()).await;
        let meter = Meter::beside(&service).await;
        let mut measured = Vec::new();
        for (who, username, password) in REFUSED {
            let metered = meter.measure(login(username, password)).await;
            assert_eq!(metered.status, 401, "{who}, {algorithm}: {}", metered.body);
            measured.push((who, metered));
        }
        let (_, first) = &measured[0];
        for (who, this) in &measured {
            assert_eq!(this.statements, first.statements, "{who}, {algorithm}");
            // A hash is nearly all there is: this is a thousandth of one.
            let difference = this.instructions.abs_diff(first.instructions);
            assert!(
                difference < first.instructions / 1000,
                "{who}, {algorithm}: {} instructions instead of {}",
                this.instructions,
                first.instructions
            );
        }
    }
}

/// Names with one stand-in, tried one after the other, would tell a user whose hash is of
/// another kind. So nobody but the service knows which these are.
#[tokio::test]
async fn who_stands_in_for_a_name_depends_on_the_secret() {
    const SECRETS: [&str; 2] =
        ["one secret of tests, with more than 32 bytes", "two secrets of tests, with 32 bytes"];
    let service = service_where_all_have(&bcrypt()).await;
    // Ada's takes an eighth of the time. Public ids that are always the same make the
    // outcome so.
    let shorter = bcrypt::hash_with_salt(PASSWORD, 4, *b"0123456789abcdef").expect("a hash");
    for (username, public_id) in [("admin", "KKKKKK"), ("ada", "eeeeee"), ("eve", "zzzzzz")] {
        sqlx::query("update users set public_id = $1 where username = $2")
            .bind(public_id)
            .bind(username)
            .execute(&mut service.database().await)
            .await
            .expect("updated");
    }
    sqlx::query("update users set password_hash = $1 where username = 'ada'")
        .bind(shorter.to_string())
        .execute(&mut service.database().await)
        .await
        .expect("updated");
    let meter = Meter::beside(&service).await;
    let mut stand_ins = Vec::new();
    for secret in SECRETS {
        let mut costs = Vec::new();
        for name in 0..10 {
            let request = login(&format!("nobody {name}"), WRONG);
            costs.push(meter.measure_with(&[("jwt_secret", secret)], request).await.instructions);
        }
        let least = *costs.iter().min().expect("some");
        stand_ins.push(costs.iter().map(|cost| *cost > 2 * least).collect::<Vec<bool>>());
    }
    assert!(stand_ins.iter().all(|names| names.contains(&true) && names.contains(&false)));
    assert_ne!(stand_ins[0], stand_ins[1]);
}

/// What the tests above rely on.
#[tokio::test]
async fn a_hash_is_nearly_all_that_a_login_computes_and_the_meter_sees_each() {
    let service = service_where_all_have(&todays_argon2id()).await;
    let meter = Meter::beside(&service).await;
    let refused = meter.measure(login("ada", WRONG)).await;
    let without_hash = meter.measure(login("", WRONG)).await;
    assert_eq!((without_hash.status, without_hash.statements.len()), (400, 0));
    assert!(without_hash.instructions < refused.instructions / 10);

    let hash = refused.instructions - without_hash.instructions;
    let percent_of_a_hash =
        |instructions: u64| (instructions - without_hash.instructions) * 100 / hash;
    let succeeded = meter.measure(login("ada", PASSWORD)).await;
    assert_eq!((succeeded.status, succeeded.statements.len()), (200, 2), "{}", succeeded.body);
    let percent = percent_of_a_hash(succeeded.instructions);
    assert!((98..=102).contains(&percent), "{percent} %");

    set_hashes(&service, &shorter_argon2id()).await;
    let rehashed = meter.measure(login("ada", PASSWORD)).await;
    assert_eq!((rehashed.status, rehashed.statements.len()), (200, 2), "{}", rehashed.body);
    let percent = percent_of_a_hash(rehashed.instructions);
    assert!((198..=202).contains(&percent), "{percent} %");
}
