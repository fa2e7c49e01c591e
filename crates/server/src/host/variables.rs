//! `fermyon:spin/variables@2.0.0`.

use super::State;
use super::bindings::fermyon::spin::variables::{Error, Host};

impl Host for State {
    async fn get(&mut self, name: String) -> wasmtime::Result<Result<String, Error>> {
        // Spin's rule for names: lower case, digits and single underscores.
        let valid = name.starts_with(|c: char| c.is_ascii_lowercase())
            && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
        if !valid {
            return Ok(Err(Error::InvalidName(name)));
        }
        Ok(self.shared.variables.get(&name).cloned().ok_or(Error::Undefined(name)))
    }
}
