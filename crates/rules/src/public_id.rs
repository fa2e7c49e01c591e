//! Random ids: the short names of users, service accounts and tokens in paths
//! and subjects.

/// Characters of an id. None of them means anything in a URL path or in
/// a NATS subject.
pub const ALPHABET: [char; 62] = [
    '0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'A', 'B', 'C', 'D', 'E', 'F', 'G', 'H', 'I',
    'J', 'K', 'L', 'M', 'N', 'O', 'P', 'Q', 'R', 'S', 'T', 'U', 'V', 'W', 'X', 'Y', 'Z', 'a', 'b',
    'c', 'd', 'e', 'f', 'g', 'h', 'i', 'j', 'k', 'l', 'm', 'n', 'o', 'p', 'q', 'r', 's', 't', 'u',
    'v', 'w', 'x', 'y', 'z',
];

/// Length of a user's public id.
pub const LENGTH: usize = 6;

/// Length of the id of a service account or a token: users make these
/// themselves, and nobody has to type one.
pub const LONG_LENGTH: usize = 12;

/// A new random public id. The caller handles the rare one that is taken.
#[must_use]
pub fn generate() -> String {
    nanoid::nanoid!(LENGTH, &ALPHABET)
}

/// A new random id of a service account or a token.
#[must_use]
pub fn generate_long() -> String {
    nanoid::nanoid!(LONG_LENGTH, &ALPHABET)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_have_their_length_and_alphabet() {
        for _ in 0..1_000 {
            let id = generate();
            assert_eq!(id.len(), LENGTH);
            assert!(id.bytes().all(|byte| byte.is_ascii_alphanumeric()), "{id}");
        }
    }
}
