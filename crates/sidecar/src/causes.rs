//! Errors as one line for people.

/// An error with its causes, without those that the text before has already: sqlx and
/// async-nats put theirs into their own.
#[must_use]
pub fn with_causes(error: &anyhow::Error) -> String {
    let mut line = String::new();
    for cause in error.chain() {
        let cause = cause.to_string();
        if line.is_empty() {
            line = cause;
        } else if !line.contains(&cause) {
            line.push_str(": ");
            line.push_str(&cause);
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[test]
    fn each_cause_is_said_once() {
        let refused = || io::Error::from(io::ErrorKind::ConnectionRefused);
        let error = anyhow::Error::new(refused()).context("the file").context("reading");
        assert_eq!(with_causes(&error), "reading: the file: connection refused");
        let error = anyhow::Error::new(sqlx::Error::Io(refused())).context("database");
        assert_eq!(
            with_causes(&error),
            "database: error communicating with database: connection refused"
        );
    }
}
