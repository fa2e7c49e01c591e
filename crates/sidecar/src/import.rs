//! Users of another system, with the hashes of their passwords.

use std::collections::HashMap;
use std::fmt;

use edd_auth_rules::member::{self, Fault, shown};
use edd_auth_rules::text::{self, Username};
use edd_auth_rules::{password, public_id};
use serde::{Deserialize, Serialize};
use sqlx::{Connection, PgConnection};

const SQL: &str = include_str!("import.sql");

/// Users that are inserted by one statement.
const CHUNK: usize = 1000;

/// Public ids that are tried for a user.
const MAX_TRIES: usize = 8;

/// A line of the file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Input {
    username: String,
    display_name: Option<String>,
    password_hash: String,
}

/// A user that may be inserted.
#[derive(Debug, Serialize)]
struct NewUser {
    line: usize,
    public_id: String,
    username: String,
    canonical_username: String,
    display_name: Option<String>,
    password_hash: String,
}

/// Users of another system, checked.
#[derive(Debug)]
pub struct Users(Vec<NewUser>);

/// What is wrong with a line.
#[derive(Debug, PartialEq, Eq)]
pub struct Problem {
    /// Its number, from 1.
    pub line: usize,
    /// What is wrong, without its password hash.
    pub what: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.what)
    }
}

impl Users {
    /// Reads NDJSON: an object `{"username", "display_name"?, "password_hash"}` a
    /// line, empty lines aside. The names are held to the rules of the API, the
    /// hashes to [`password::check_imported`].
    ///
    /// # Errors
    ///
    /// Every line that is wrong.
    pub fn parse(ndjson: &str) -> Result<Self, Vec<Problem>> {
        let mut users = Vec::new();
        let mut problems = Vec::new();
        let mut lines_by_name = HashMap::new();
        for (index, text) in ndjson.lines().enumerate() {
            let line = index + 1;
            if text.trim().is_empty() {
                continue;
            }
            match parse_line(line, text) {
                Ok(user) => {
                    if let Some(earlier) =
                        lines_by_name.insert(user.canonical_username.clone(), line)
                    {
                        let what = format!("`username` is that of line {earlier}");
                        problems.push(Problem { line, what });
                    }
                    users.push(user);
                }
                Err(what) => problems.push(Problem { line, what }),
            }
        }
        if problems.is_empty() { Ok(Self(users)) } else { Err(problems) }
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Creates all of them in one transaction, each with its event and its row of
    /// the audit log, or none. `progress` gets how many there are so far.
    ///
    /// # Errors
    ///
    /// [`Refused`] when somebody has one of the names, or a database error.
    pub async fn create(
        &mut self,
        connection: &mut PgConnection,
        mut progress: impl FnMut(usize),
    ) -> anyhow::Result<()> {
        let mut transaction = connection.begin().await?;
        let mut taken = Vec::new();
        let mut done = 0;
        for users in self.0.chunks_mut(CHUNK) {
            taken.extend(insert(&mut transaction, users).await?);
            done += users.len();
            progress(done);
        }
        if !taken.is_empty() {
            return Err(Refused(taken).into());
        }
        transaction.commit().await?;
        Ok(())
    }
}

/// Nothing was imported, because of these lines.
#[derive(Debug, thiserror::Error)]
#[error("{} users have names that are taken", .0.len())]
pub struct Refused(pub Vec<Problem>);

/// A row that was not inserted.
#[derive(Deserialize)]
struct Left {
    line: usize,
    taken: bool,
}

/// Inserts users, and returns those whose names are taken. A public id that is
/// taken is replaced by another one.
async fn insert(
    connection: &mut PgConnection,
    users: &mut [NewUser],
) -> anyhow::Result<Vec<Problem>> {
    let mut problems = Vec::new();
    let mut lines: Vec<usize> = users.iter().map(|user| user.line).collect();
    for _ in 0..MAX_TRIES {
        if lines.is_empty() {
            return Ok(problems);
        }
        let wanted: Vec<&NewUser> =
            users.iter().filter(|user| lines.contains(&user.line)).collect();
        let left: serde_json::Value = sqlx::query_scalar(SQL)
            .bind(serde_json::to_string(&wanted)?)
            .fetch_one(&mut *connection)
            .await?;
        lines.clear();
        for Left { line, taken } in serde_json::from_value::<Vec<Left>>(left)? {
            if taken {
                problems.push(Problem { line, what: "`username` is taken".to_owned() });
            } else {
                lines.push(line);
            }
        }
        for user in users.iter_mut().filter(|user| lines.contains(&user.line)) {
            user.public_id = public_id::generate();
        }
    }
    anyhow::ensure!(lines.is_empty(), "{MAX_TRIES} random public ids were all taken");
    Ok(problems)
}

fn parse_line(line: usize, text: &str) -> Result<NewUser, String> {
    // serde would take an array as the fields of a struct in their order.
    if !text.trim_start().starts_with('{') {
        return Err("is not a JSON object".to_owned());
    }
    // serde's messages may quote the line, and with it a hash.
    let input: Input = serde_json::from_str(text).map_err(|error| explain(&error))?;
    let username =
        Username::parse(&input.username).map_err(|refusal| format!("`username` {refusal}"))?;
    if let Some(display_name) = &input.display_name {
        text::check_display_name(display_name)
            .map_err(|refusal| format!("`display_name` {refusal}"))?;
    }
    password::check_imported(&input.password_hash)
        .map_err(|refusal| format!("`password_hash` {refusal}"))?;
    Ok(NewUser {
        line,
        public_id: public_id::generate(),
        username: username.as_str().to_owned(),
        canonical_username: username.canonical().to_owned(),
        display_name: input.display_name,
        password_hash: input.password_hash,
    })
}

fn explain(error: &serde_json::Error) -> String {
    match member::fault(error) {
        Some((Fault::Missing, name)) => format!("`{name}` is missing"),
        Some((Fault::Twice, name)) => format!("`{name}` is given twice"),
        Some((Fault::Unknown, name)) => format!(
            "`{}` is not a field of a user: username, display_name, password_hash",
            shown(&name)
        ),
        None if error.is_data() => "is not an object whose members are texts".to_owned(),
        None => format!("is not valid JSON (column {})", error.column()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HASH: &str = "$2y$04$abcdefghijklmnopqrstuuABCDEFGHIJKLMNOPQRSTUVWXYZ01232";

    #[test]
    fn good_lines_are_users() {
        let ndjson = format!(
            "{{\"username\":\" Ada \",\"display_name\":\"Ada L.\",\"password_hash\":\"{HASH}\"}}\n\
             \n\
             {{\"username\":\"bob\",\"password_hash\":\"{HASH}\"}}\r\n"
        );
        let Users(users) = Users::parse(&ndjson).expect("users");
        assert_eq!(users.len(), 2);
        assert_eq!(
            (users[0].username.as_str(), users[0].canonical_username.as_str()),
            ("Ada", "ada")
        );
        assert_eq!((users[1].line, users[1].display_name.as_deref()), (3, None));
    }

    #[test]
    fn every_bad_line_is_told_and_no_hash() {
        let lines = [
            r#"{"username":"ada","password_hash":"HASH"}"#,
            r#"{"username":"","password_hash":"HASH"}"#,
            r#"{"username":"bob","display_name":"a\u202eb","password_hash":"HASH"}"#,
            r#"{"username":"bob","password_hash":"plain secret"}"#,
            r#"{"username":"bob","password_hash":"HASH","is_admin":true}"#,
            r#"{"username":"bob"}"#,
            r#"{"username":"bob","username":"eve","password_hash":"HASH"}"#,
            r#"{"username":"bob","password_hash":5}"#,
            r#"{"username":"bob","password_hash":"HASH""#,
            r#"["bob","HASH"]"#,
            r#"{"username":"ADA","password_hash":"HASH"}"#,
            r#"{"HASH":"bob"}"#,
        ]
        .map(|line| line.replace("HASH", HASH));
        let problems = Users::parse(&lines.join("\n")).expect_err("refused");
        let told: Vec<String> = problems.iter().map(ToString::to_string).collect();
        let expected = [
            "line 2: `username` must not be empty",
            "line 3: `display_name` must not contain characters that are invisible",
            "line 4: `password_hash` must be a bcrypt hash",
            "line 5: `is_admin` is not a field of a user",
            "line 6: `password_hash` is missing",
            "line 7: `username` is given twice",
            "line 8: is not an object whose members are texts",
            "line 9: is not valid JSON",
            "line 10: is not a JSON object",
            "line 11: `username` is that of line 1",
            "line 12: `…` is not a field of a user",
        ];
        assert_eq!(told.len(), expected.len(), "{told:#?}");
        for (told, expected) in told.iter().zip(expected) {
            assert!(told.starts_with(expected), "{told} — {expected}");
            assert!(!told.contains(&HASH[7..]) && !told.contains("plain secret"), "{told}");
        }
    }
}
