//! Guessing passwords

use edd_auth_server::http::Limits;
use serde_json::{Value, json};

use crate::harness::{ADMIN, ADMIN_PASSWORD, LIMITS, PASSWORD, Reply, Service};

const WRONG: &str = "not the password of anybody";

/// A service behind one proxy, so that a test can come from anywhere.
pub(crate) async fn behind_a_proxy() -> Service {
    Service::start_with(&[("trusted_proxy_hops", "1")]).await
}

pub(crate) async fn login_from(
    service: &Service,
    address: &str,
    username: &str,
    password: &str,
) -> Reply {
    let body = json!({"username": username, "password": password});
    service.post("/login").header("x-forwarded-for", address).json(&body).send().await
}

pub(crate) async fn execute(service: &Service, sql: &'static str) {
    sqlx::raw_sql(sql).execute(&mut service.database().await).await.expect("executed");
}

#[tokio::test]
async fn after_five_wrong_passwords_even_the_right_one_has_to_wait() {
    let service = Service::start().await;
    let login = async |password: &str| {
        let body = json!({"username": ADMIN, "password": password});
        service.post("/login").json(&body).send().await
    };
    for left in (0..5).rev() {
        let reply = login(WRONG).await;
        reply.assert_problem(401, "invalid_credentials");
        assert_eq!(reply.header("ratelimit-policy"), Some("\"login\";q=5;w=3600"));
        let retry = if left == 0 { 15 } else { 0 };
        assert_eq!(
            reply.header("ratelimit"),
            Some(format!("\"login\";r={left};t={retry}").as_str())
        );
    }
    let refused = login(ADMIN_PASSWORD).await;
    refused.assert_problem(429, "too_many_attempts");
    let seconds: u32 =
        refused.header("retry-after").expect("Retry-After").parse().expect("seconds");
    assert!((14..=15).contains(&seconds), "{seconds}");
    assert_eq!(service.count("sessions").await, 0);

    execute(&service, "update login_throttle set last_at = last_at - interval '15 seconds'").await;
    assert_eq!(login(ADMIN_PASSWORD).await.status, 200);
    // A success clears the pair.
    let reply = login(WRONG).await;
    assert_eq!(reply.header("ratelimit"), Some("\"login\";r=4;t=0"));
}

#[tokio::test]
async fn the_wait_doubles_up_to_fifteen_minutes_and_an_hour_forgives() {
    let service = behind_a_proxy().await;
    let mut waits = Vec::new();
    for failures in 5..13 {
        sqlx::query(
            "insert into login_throttle (key, failures, last_at) \
             values (login_throttle_key('pair', 'admin 192.0.2.7'), $1, now()) \
             on conflict (key) do update set failures = $1, last_at = now()",
        )
        .bind(failures)
        .execute(&mut service.database().await)
        .await
        .expect("set");
        let reply = login_from(&service, "192.0.2.7", ADMIN, WRONG).await;
        reply.assert_problem(429, "too_many_attempts");
        waits.push(reply.header("retry-after").expect("Retry-After").parse::<u32>().expect("s"));
    }
    assert_eq!(waits, [15, 30, 60, 120, 240, 480, 900, 900]);
    execute(&service, "update login_throttle set last_at = now() - interval '61 minutes'").await;
    let reply = login_from(&service, "192.0.2.7", ADMIN, WRONG).await;
    assert_eq!(reply.header("ratelimit"), Some("\"login\";r=4;t=0"), "{}", reply.body);
}

#[tokio::test]
async fn a_hundred_guesses_at_once_are_five_guesses() {
    let service = Service::with_limits(Limits { hashes: 100, ..LIMITS }).await;
    let guess = || async {
        let body = json!({"username": ADMIN, "password": WRONG});
        service.post("/login").json(&body).send().await.status
    };
    let statuses = futures::future::join_all((0..100).map(|_| guess())).await;
    let tried = statuses.iter().filter(|status| **status == 401).count();
    assert_eq!(tried, 5, "{statuses:?}");
    // The others are refused, or find no connection free in time.
    assert!(statuses.iter().all(|status| matches!(status, 401 | 429 | 503)), "{statuses:?}");
    assert_eq!(service.count("audit_log where reason = 'wrong_password'").await, 5);
}

#[tokio::test]
async fn guesses_that_wait_for_each_other_see_each_others_count() {
    let service = behind_a_proxy().await;
    execute(
        &service,
        "insert into login_throttle (key, failures) \
         values (login_throttle_key('pair', 'admin 192.0.2.7'), 4)",
    )
    .await;
    let mut database = service.database().await;
    sqlx::raw_sql("begin; select key from login_throttle for update")
        .execute(&mut database)
        .await
        .expect("locked");
    // One try is left, and three want it, each with the snapshot from before.
    let guess = || login_from(&service, "192.0.2.7", ADMIN, WRONG);
    let release = async {
        service.until_blocked(3).await;
        sqlx::raw_sql("rollback").execute(&mut database).await.expect("released");
    };
    let (one, two, three, ()) = tokio::join!(guess(), guess(), guess(), release);
    let mut statuses = [one.status, two.status, three.status];
    statuses.sort_unstable();
    assert_eq!(statuses, [401, 429, 429]);
}

#[tokio::test]
async fn two_servers_have_one_count() {
    let one = Service::start().await;
    let two = Service::on_database(&one.database_url, &[]).await;
    let body = json!({"username": ADMIN, "password": WRONG});
    for service in [&one, &two, &one, &two, &one] {
        let reply = service.post("/login").json(&body).send().await;
        reply.assert_problem(401, "invalid_credentials");
    }
    for service in [&one, &two] {
        let reply = service.post("/login").json(&body).send().await;
        reply.assert_problem(429, "too_many_attempts");
    }
}

#[tokio::test]
async fn unknown_wrong_and_disabled_are_counted_alike() {
    let service = behind_a_proxy().await;
    let admin = service.login_admin().await;
    let ada = service.create_user(&admin, "ada").await;
    let path = format!("/admin/users/{}", ada["public_id"].as_str().expect("an id"));
    service.patch(&path).bearer(&admin).json(&json!({"disabled": true})).send().await;
    let mut answers: Vec<Vec<(u16, Value, Option<String>)>> = Vec::new();
    for (place, (username, password)) in
        [("nobody", PASSWORD), (ADMIN, WRONG), ("ada", PASSWORD)].into_iter().enumerate()
    {
        let mut of_this = Vec::new();
        for _ in 0..6 {
            let address = format!("192.0.2.{place}");
            let reply = login_from(&service, &address, username, password).await;
            let left = reply.header("ratelimit").map(str::to_owned);
            of_this.push((reply.status, reply.body, left));
        }
        answers.push(of_this);
    }
    assert_eq!(answers[0], answers[1]);
    assert_eq!(answers[0], answers[2]);
    assert_eq!(answers[0][5].0, 429);
}

#[tokio::test]
async fn a_network_that_guesses_many_names_is_kept_out_and_others_are_not() {
    let service = behind_a_proxy().await;
    for n in 0..30 {
        let reply = login_from(&service, "192.0.2.7", &format!("user{n}"), WRONG).await;
        reply.assert_problem(401, "invalid_credentials");
    }
    let refused = login_from(&service, "192.0.2.7", ADMIN, ADMIN_PASSWORD).await;
    refused.assert_problem(429, "too_many_attempts");
    assert_eq!(login_from(&service, "192.0.2.8", ADMIN, ADMIN_PASSWORD).await.status, 200);
    execute(&service, "update login_throttle set since = since - interval '15 minutes'").await;
    assert_eq!(login_from(&service, "192.0.2.7", ADMIN, ADMIN_PASSWORD).await.status, 200);
}

#[tokio::test]
async fn a_stranger_can_not_lock_the_owner_out() {
    let service = behind_a_proxy().await;
    assert_eq!(login_from(&service, "192.0.2.7", ADMIN, ADMIN_PASSWORD).await.status, 200);
    // From a hundred addresses, one guess each.
    for n in 0..100 {
        let reply = login_from(&service, &format!("198.51.100.{n}"), "ADMIN", WRONG).await;
        reply.assert_problem(401, "invalid_credentials");
    }
    let stranger = login_from(&service, "203.0.113.1", ADMIN, ADMIN_PASSWORD).await;
    stranger.assert_problem(429, "too_many_attempts");
    // The owner comes from where the owner has come from before.
    assert_eq!(login_from(&service, "192.0.2.7", ADMIN, ADMIN_PASSWORD).await.status, 200);
    execute(&service, "update known_networks set last_login_at = now() - interval '31 days'").await;
    let forgotten = login_from(&service, "192.0.2.7", ADMIN, ADMIN_PASSWORD).await;
    forgotten.assert_problem(429, "too_many_attempts");
}

#[tokio::test]
async fn an_ipv6_network_is_one_network() {
    let service = behind_a_proxy().await;
    for host in 1..=5 {
        let address = format!("2001:db8:1:2::{host:x}");
        let reply = login_from(&service, &address, ADMIN, WRONG).await;
        reply.assert_problem(401, "invalid_credentials");
    }
    let same = login_from(&service, "2001:db8:1:2:ffff::1", ADMIN, WRONG).await;
    same.assert_problem(429, "too_many_attempts");
    let other = login_from(&service, "2001:db8:1:3::1", ADMIN, WRONG).await;
    other.assert_problem(401, "invalid_credentials");
}

#[tokio::test]
async fn a_forged_header_moves_no_count() {
    // No proxy is trusted: the peer is the client, whatever it writes.
    let service = Service::start().await;
    for n in 0..5 {
        let reply = login_from(&service, &format!("192.0.2.{n}"), ADMIN, WRONG).await;
        reply.assert_problem(401, "invalid_credentials");
    }
    let refused = login_from(&service, "192.0.2.99", ADMIN, WRONG).await;
    refused.assert_problem(429, "too_many_attempts");
    // With one proxy, what stands left of what it has appended is the client's.
    let service = behind_a_proxy().await;
    for n in 0..5 {
        let forged = format!("192.0.2.{n}, 203.0.113.1");
        let reply = login_from(&service, &forged, ADMIN, WRONG).await;
        reply.assert_problem(401, "invalid_credentials");
    }
    let refused = login_from(&service, "192.0.2.99, 203.0.113.1", ADMIN, WRONG).await;
    refused.assert_problem(429, "too_many_attempts");
}

#[tokio::test]
async fn changing_the_password_is_no_way_around() {
    let service = Service::start().await;
    let admin = service.login_admin().await;
    let guess = async || {
        let body = json!({"current_password": WRONG, "new_password": PASSWORD});
        service.put("/me/password").bearer(&admin).json(&body).send().await
    };
    for _ in 0..5 {
        guess().await.assert_problem(403, "wrong_password");
    }
    let refused = guess().await;
    refused.assert_problem(429, "too_many_attempts");
    assert!(refused.header("retry-after").is_some());
    // One count for both entrances.
    let body = json!({"username": ADMIN, "password": ADMIN_PASSWORD});
    service.post("/login").json(&body).send().await.assert_problem(429, "too_many_attempts");
    execute(&service, "update login_throttle set last_at = last_at - interval '15 seconds'").await;
    let body = json!({"current_password": ADMIN_PASSWORD, "new_password": PASSWORD});
    let changed = service.put("/me/password").bearer(&admin).json(&body).send().await;
    assert_eq!(changed.status, 204, "{}", changed.body);
    assert_eq!(service.count("login_throttle where key like 'pair %'").await, 0);
}

#[tokio::test]
async fn a_refusal_is_written_down_once_a_minute() {
    let service = Service::start().await;
    let body = json!({"username": ADMIN, "password": WRONG});
    for _ in 0..9 {
        service.post("/login").json(&body).send().await;
    }
    let reasons = service.audit_reasons("login").await;
    let expected: Vec<Option<String>> = ["wrong_password"; 5]
        .into_iter()
        .chain(["throttled"])
        .map(|reason| Some(reason.to_owned()))
        .collect();
    assert_eq!(reasons, expected);
    let entry = service.last_audit("login").await;
    assert_eq!(entry["outcome"], "denied");
    assert!(entry["actor"].is_string());
    execute(&service, "update login_throttle set refused_at = refused_at - interval '61 seconds'")
        .await;
    service.post("/login").json(&body).send().await;
    assert_eq!(service.audit("login").await.len(), 7);
}

#[tokio::test]
async fn nothing_of_a_name_is_kept() {
    let service = Service::start().await;
    let body = json!({"username": "hunter2 typed here", "password": WRONG});
    service.post("/login").json(&body).send().await;
    let rows: Vec<String> =
        sqlx::query_scalar("select to_jsonb(login_throttle)::text from login_throttle")
            .fetch_all(&mut service.database().await)
            .await
            .expect("rows");
    assert_eq!(rows.len(), 3);
    assert!(rows.iter().all(|row| !row.contains("hunter2")), "{rows:?}");
}
