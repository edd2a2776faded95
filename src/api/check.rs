//! Checks of a request's fields: every field that is not valid is named, not only the first.

use std::{collections::BTreeMap, fmt::Display, ops::RangeInclusive};

use super::problem::Problem;

/// Collects what is wrong.
#[derive(Debug, Default)]
pub struct Checks {
    errors: BTreeMap<String, String>,
}

impl Checks {
    /// A line of text, trimmed.
    pub fn line(&mut self, field: &str, text: &str, length: RangeInclusive<usize>) -> String {
        let text = text.trim().to_owned();
        self.require(field, !text.chars().any(char::is_control), "must have no control characters");
        self.length(field, &text, &length);
        text
    }

    /// Text that may have several lines.
    pub fn text(&mut self, field: &str, text: String, length: RangeInclusive<usize>) -> String {
        let control = |c: char| c.is_control() && !matches!(c, '\n' | '\r' | '\t');
        self.require(
            field,
            !text.chars().any(control),
            "must have no control characters but line breaks and tabs",
        );
        self.length(field, &text, &length);
        text
    }

    /// A number within bounds.
    pub fn number<N: PartialOrd + Display + Copy>(
        &mut self,
        field: &str,
        number: N,
        bounds: RangeInclusive<N>,
    ) -> N {
        if !bounds.contains(&number) {
            self.error(field, format!("must be from {} to {}", bounds.start(), bounds.end()));
        }
        number
    }

    /// A field that parses itself.
    pub fn parsed<T, E: Display>(&mut self, field: &str, parsed: Result<T, E>) -> Option<T> {
        parsed.map_err(|error| self.error(field, error.to_string())).ok()
    }

    /// Anything else that must be so.
    pub fn require(&mut self, field: &str, is_so: bool, message: &str) {
        if !is_so {
            self.error(field, message.to_owned());
        }
    }

    /// Ends the checks.
    pub fn finish(self) -> Result<(), Problem> {
        if self.errors.is_empty() { Ok(()) } else { Err(Problem::invalid(self.errors)) }
    }

    fn length(&mut self, field: &str, text: &str, length: &RangeInclusive<usize>) {
        if !length.contains(&text.chars().count()) {
            self.error(field, format!("must have {} to {} characters", length.start(), length.end()));
        }
    }

    /// The first message about a field is the one that is sent.
    fn error(&mut self, field: &str, message: String) {
        self.errors.entry(field.to_owned()).or_insert(message);
    }
}
