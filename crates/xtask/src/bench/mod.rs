//! `cargo xtask bench`: figures about the running service. They are ratios and
//! differences within one run, since the figures of two machines don't compare.

pub mod backlog;
mod caller;
pub mod login;
mod sample;
pub mod timing;

use std::net::Ipv4Addr;
use std::time::Duration;

use anyhow::{Context, ensure};
use serde_json::{Value, json};

use crate::subject::{PASSWORD, Subject, USERNAME};

/// A password that is none of anybody's.
const WRONG_PASSWORD: &str = "a password that nobody there does have";

/// How long an answer may take.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

impl Subject {
    /// Creates users that are called `letter` and five digits, from 0.
    fn create_users(&self, letter: char, count: usize) -> anyhow::Result<()> {
        let client = self.client();
        let admin = client.login(Ipv4Addr::LOCALHOST, USERNAME, PASSWORD)?.token()?;
        (0..count).try_for_each(|number| client.create_user(&admin, &name(letter, number)))
    }

    fn client(&self) -> Client {
        let agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .proxy(None)
            .timeout_global(Some(ANSWER_TIMEOUT))
            .build()
            .new_agent();
        Client { agent, url: format!("http://{}", self.address) }
    }
}

/// The name of a user of [`Subject::create_users`].
fn name(letter: char, number: usize) -> String {
    format!("{letter}{number:05}")
}

/// A client on a connection that is kept. A response has arrived when its last byte
/// has.
struct Client {
    agent: ureq::Agent,
    url: String,
}

impl Client {
    fn login(&self, from: Ipv4Addr, username: &str, password: &str) -> anyhow::Result<Answer> {
        let request = self.agent.post(format!("{}/login", self.url));
        let body = json!({"username": username, "password": password});
        Answer::read(
            request
                .header("x-forwarded-for", from.to_string())
                .content_type("application/json")
                .send(body.to_string())?,
        )
    }

    fn me(&self, token: &str) -> anyhow::Result<Answer> {
        let request = self.agent.get(format!("{}/me", self.url));
        Answer::read(request.header("authorization", format!("Bearer {token}")).call()?)
    }

    fn rename(&self, token: &str, display_name: &str) -> anyhow::Result<Answer> {
        let request = self.agent.patch(format!("{}/me", self.url));
        let body = json!({"display_name": display_name});
        Answer::read(
            request
                .header("authorization", format!("Bearer {token}"))
                .content_type("application/json")
                .send(body.to_string())?,
        )
    }

    fn create_user(&self, admin: &str, username: &str) -> anyhow::Result<()> {
        let request = self.agent.post(format!("{}/admin/users", self.url));
        let body = json!({"username": username, "password": PASSWORD});
        let response = request
            .header("authorization", format!("Bearer {admin}"))
            .content_type("application/json")
            .send(body.to_string())?;
        Answer::read(response)?.expect(201).map(drop)
    }
}

struct Answer {
    status: u16,
    body: Vec<u8>,
}

impl Answer {
    fn read(mut response: ureq::http::Response<ureq::Body>) -> anyhow::Result<Self> {
        let body = response.body_mut().read_to_vec()?;
        Ok(Self { status: response.status().as_u16(), body })
    }

    /// # Errors
    ///
    /// When it has another status; with what it says.
    fn expect(self, status: u16) -> anyhow::Result<Value> {
        ensure!(
            self.status == status,
            "{} instead of {status}: {}",
            self.status,
            String::from_utf8_lossy(&self.body)
        );
        Ok(serde_json::from_slice(&self.body)?)
    }

    /// The token of a login.
    fn token(self) -> anyhow::Result<String> {
        let answer = self.expect(200)?;
        Ok(answer["token"].as_str().context("a login without a token")?.to_owned())
    }
}
