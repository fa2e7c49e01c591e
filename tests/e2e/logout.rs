//! `POST /logout`

use serde_json::json;

use crate::harness::Service;

#[tokio::test]
async fn the_token_is_dead_at_once() {
    let service = Service::start().await;
    let token = service.login_admin().await;
    let other = service.login_admin().await;
    assert_eq!(service.post("/logout").bearer(&token).send().await.status, 204);

    service.get("/me").bearer(&token).send().await.assert_problem(401, "invalid_token");
    service.post("/logout").bearer(&token).send().await.assert_problem(401, "invalid_token");
    assert_eq!(service.get("/me").bearer(&other).send().await.status, 200);

    let outbox = service.outbox().await;
    let (kind, session, data) = outbox.last().expect("an event");
    assert_eq!(kind, "SessionInvalidated");
    assert_eq!(session, &outbox[0].1);
    let created = &outbox[0].2;
    assert_eq!(
        data,
        &json!({
            "session_id": session,
            "user_id": created["user_id"],
            "public_id": created["public_id"],
            "reason": "logout",
        })
    );
    assert_eq!(outbox.len(), 3);
}

#[tokio::test]
async fn two_logouts_at_once_end_one_session_once() {
    let service = Service::start().await;
    let token = service.login_admin().await;
    let logout = || service.post("/logout").bearer(&token).send();
    let (one, two) = tokio::join!(logout(), logout());
    let mut statuses = [one.status, two.status];
    statuses.sort_unstable();
    assert_eq!(statuses, [204, 401]);
    assert_eq!(service.outbox_kinds().await, ["SessionCreated", "SessionInvalidated"]);
}

#[tokio::test]
async fn without_a_token_it_is_401() {
    let service = Service::start().await;
    service.post("/logout").send().await.assert_problem(401, "missing_token");
}
