//! What a user is known by, and the password: checked at the edge, trusted afterwards.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::Secret;

/// Why a text is not what a field may hold. It names the bounds, and repeats nothing of the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidField(&'static str);

impl InvalidField {
    pub(super) const SECRET: Self = Self("a secret has 1 to 2048 characters");
    const USER_NAME: Self = Self(
        "a user name has 3 to 64 ASCII letters, digits, dots, dashes and underscores, and begins \
         with a letter or digit",
    );
    const EMAIL: Self = Self("an email address is of the form name@domain, in 3 to 254 bytes");
    const STUDENT_ID: Self = Self("a student id has 1 to 20 digits");
    const PASSWORD: Self = Self("a password has 8 to 128 characters");
}

/// Declares newtypes over a text with one rule.
macro_rules! texts {
    ($($(#[$doc:meta])* $name:ident, $invalid:ident, $is_valid:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(into = "String", try_from = "String")]
        pub struct $name(String);

        impl $name {
            /// The text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }

            /// The text in lower case, by which it is compared.
            #[must_use]
            pub fn folded(&self) -> String {
                self.0.to_ascii_lowercase()
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidField;

            fn try_from(text: String) -> Result<Self, InvalidField> {
                if $is_valid(&text) {
                    Ok(Self(text))
                } else {
                    Err(InvalidField::$invalid)
                }
            }
        }

        impl FromStr for $name {
            type Err = InvalidField;

            fn from_str(text: &str) -> Result<Self, InvalidField> {
                Self::try_from(text.to_owned())
            }
        }

        impl From<$name> for String {
            fn from(text: $name) -> Self {
                text.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    )*};
}

texts! {
    /// The name that a user logs in with: 3 to 64 ASCII letters, digits, dots, dashes and underscores,
    /// the first one a letter or digit. ASCII, so that no name can pass for another one.
    UserName, USER_NAME, is_user_name;
    /// An address of electronic mail, as HTML's forms define a valid one (WHATWG HTML, "valid email
    /// address"), in at most 254 bytes (RFC 5321 with its erratum 1690).
    Email, EMAIL, is_email;
    /// The number of a student, or of whoever else is a user: 1 to 20 digits. Leading zeros count.
    StudentId, STUDENT_ID, is_student_id;
}

fn is_user_name(text: &str) -> bool {
    (3..=64).contains(&text.len())
        && text.as_bytes()[0].is_ascii_alphanumeric()
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b".-_".contains(&byte))
}

fn is_student_id(text: &str) -> bool {
    (1..=20).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn is_email(text: &str) -> bool {
    let Some((name, domain)) = text.split_once('@') else {
        return false;
    };
    let in_name =
        |byte: u8| byte.is_ascii_alphanumeric() || b".!#$%&'*+/=?^_`{|}~-".contains(&byte);
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    text.len() <= 254
        && !name.is_empty()
        && name.bytes().all(in_name)
        && domain.split('.').all(is_label)
}

/// A password to be set: 8 to 128 characters of any kind (OWASP Authentication Cheat Sheet: a length
/// of at least 8, an upper bound of at least 64 that keeps hashing cheap, no rules of composition).
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Password(Secret);

impl Password {
    /// The fewest characters.
    pub const MIN_LENGTH: usize = 8;

    /// The most characters.
    pub const MAX_LENGTH: usize = 128;

    /// The secret itself.
    #[must_use]
    pub fn secret(&self) -> &Secret {
        &self.0
    }
}

impl TryFrom<String> for Password {
    type Error = InvalidField;

    fn try_from(text: String) -> Result<Self, InvalidField> {
        let is_valid = (Self::MIN_LENGTH..=Self::MAX_LENGTH).contains(&text.chars().count());
        let secret = Secret::new(text);
        match secret {
            Ok(secret) if is_valid => Ok(Self(secret)),
            Ok(_) | Err(_) => Err(InvalidField::PASSWORD),
        }
    }
}

impl From<Password> for String {
    fn from(password: Password) -> Self {
        password.0.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_names_are_plain_and_compared_without_case() {
        for good in ["abc", "A.b-c_9", &"x".repeat(64)] {
            good.parse::<UserName>().unwrap();
        }
        for bad in ["", "ab", ".abc", "a b c", "a/b", "äbc", &"x".repeat(65)] {
            bad.parse::<UserName>().unwrap_err();
        }
        let [a, b] = ["Alice", "aLICE"].map(|name| name.parse::<UserName>().unwrap());
        assert_ne!(a, b);
        assert_eq!(a.folded(), b.folded());
    }

    #[test]
    fn emails_are_as_html_has_them() {
        for good in ["a@b", "first.last+tag@sub.example.org"] {
            good.parse::<Email>().unwrap();
        }
        let long = format!("{}@example.org", "x".repeat(254));
        for bad in [
            "", "@", "a@", "@b", "a b@c", "a@b@c", "a@b..c", "a@-b", "a@b-", "ä@b", &long,
        ] {
            bad.parse::<Email>().unwrap_err();
        }
    }

    #[test]
    fn student_ids_are_digits() {
        "00123".parse::<StudentId>().unwrap();
        for bad in ["", "12a", "-1", "123456789012345678901"] {
            bad.parse::<StudentId>().unwrap_err();
        }
    }

    #[test]
    fn a_password_has_bounds_and_shows_in_no_error() {
        for good in ["eight888", "öäüßöäüß", &"ß".repeat(128)] {
            Password::try_from(good.to_owned()).unwrap();
        }
        for bad in ["seven77", "öäüßöäü", &"x".repeat(129)] {
            let said = Password::try_from(bad.to_owned()).unwrap_err().to_string();
            assert!(said.contains("8 to 128") && !said.contains(bad), "{said}");
        }
        let password = Password::try_from("open sesame".to_owned()).unwrap();
        assert!(!format!("{password:?}").contains("sesame"));
    }
}
