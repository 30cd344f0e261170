//! What nobody may read in a log.

use std::fmt;

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::InvalidField;

/// A password or a token, 1 to [`Secret::MAX_LENGTH`] characters. Formatting it shows nothing of it,
/// and its memory is overwritten when it is dropped.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// The longest secret, in characters.
    pub const MAX_LENGTH: usize = 2048;

    /// Takes `secret`.
    ///
    /// # Errors
    /// When it is empty or too long.
    pub fn new(secret: String) -> Result<Self, InvalidField> {
        let secret = Zeroizing::new(secret);
        if (1..=Self::MAX_LENGTH).contains(&secret.chars().count()) {
            Ok(Self(secret))
        } else {
            Err(InvalidField::SECRET)
        }
    }

    /// The secret itself, for whoever has to use it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

impl TryFrom<String> for Secret {
    type Error = InvalidField;

    fn try_from(secret: String) -> Result<Self, InvalidField> {
        Self::new(secret)
    }
}

impl From<Secret> for String {
    fn from(secret: Secret) -> Self {
        secret.expose().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formatting_shows_nothing_of_a_secret() {
        let secret = Secret::new("open sesame".into()).unwrap();
        assert!(!format!("{secret:?} {:#?}", Some(&secret)).contains("sesame"));
        assert_eq!(secret.expose(), "open sesame");
    }

    #[test]
    fn a_secret_is_neither_empty_nor_endless() {
        for bad in [String::new(), "x".repeat(Secret::MAX_LENGTH + 1)] {
            let said = Secret::new(bad).unwrap_err().to_string();
            assert!(!said.contains("xx"), "{said}");
        }
    }
}
