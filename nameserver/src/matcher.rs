//! Selectors of names.

use bazaar_rpc::naming::{MAX_TEXT, NamingError, Selector};
use regex::{Regex, RegexBuilder};

/// The most memory that a regular expression may take, in bytes.
const MAX_REGEX: usize = 1 << 20;

/// A selector, ready to be matched.
pub(crate) enum Matcher<'a> {
    All,
    Name(&'a str),
    Prefix(&'a str),
    Regex(Regex),
}

impl<'a> Matcher<'a> {
    /// Makes `selector` ready.
    pub(crate) fn new(selector: &'a Selector) -> Result<Self, NamingError> {
        Ok(match selector {
            Selector::All => Self::All,
            Selector::Name(name) => Self::Name(name),
            Selector::Prefix(prefix) => Self::Prefix(prefix),
            Selector::Regex(pattern) => Self::Regex(whole_match(pattern)?),
        })
    }

    /// Whether `name` is selected.
    pub(crate) fn matches(&self, name: &str) -> bool {
        match self {
            Self::All => true,
            Self::Name(wanted) => name == *wanted,
            Self::Prefix(prefix) => name.starts_with(prefix),
            Self::Regex(regex) => regex.is_match(name),
        }
    }
}

/// A regular expression that matches a text as a whole or not at all.
fn whole_match(pattern: &str) -> Result<Regex, NamingError> {
    if pattern.len() > MAX_TEXT {
        return Err(NamingError::Invalid(format!(
            "a regular expression has at most {MAX_TEXT} bytes"
        )));
    }
    let compile = |pattern: &str| {
        let mut builder = RegexBuilder::new(pattern);
        builder.size_limit(MAX_REGEX).dfa_size_limit(MAX_REGEX);
        builder.build().map_err(|error| {
            // Its message draws the pattern over several lines; the last one says what is wrong.
            let text = error.to_string();
            let reason = text
                .lines()
                .last()
                .unwrap_or_default()
                .trim_start_matches("error: ");
            NamingError::Invalid(format!("regular expression {pattern:?}: {reason}"))
        })
    };
    // By itself first: a pattern such as `a)|(b` would otherwise step out of the group.
    compile(pattern)?;
    compile(&format!(r"\A(?:{pattern})\z"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, name: &str) -> bool {
        Matcher::new(&Selector::Regex(pattern.into()))
            .unwrap()
            .matches(name)
    }

    #[test]
    fn a_regular_expression_matches_a_name_as_a_whole() {
        assert!(matches("order/.", "order/1"));
        assert!(!matches("order/.", "order/12"));
        assert!(!matches("rder/.", "order/1"));
        assert!(matches("b|order/12", "order/12"));
    }

    #[test]
    fn a_hostile_regular_expression_is_refused_in_one_line() {
        for pattern in [
            "b)|(order/1",
            "(",
            "(((a{100}){100}){100})",
            &"a".repeat(201),
        ] {
            let refused = Matcher::new(&Selector::Regex(pattern.into())).err();
            let Some(NamingError::Invalid(reason)) = refused else {
                panic!("{pattern}")
            };
            assert!(!reason.contains('\n'), "{reason}");
        }
    }
}
