//! A rule that was broken.

use core::fmt;

/// A rule that was broken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Who noticed: `ledger`, `footprint`, `live`, ...
    pub checker: &'static str,
    /// What kind of breach, without numbers: shrinking keeps it the same.
    pub signature: String,
    /// The whole story.
    pub text: String,
}

impl Violation {
    /// A breach that `checker` noticed. The signature is the text without its digits and without
    /// what stands in backquotes.
    #[must_use]
    pub fn new(checker: &'static str, text: impl Into<String>) -> Self {
        let text = text.into();
        let plain = text.split('`').step_by(2).collect::<String>();
        let signature = plain.chars().filter(|c| !c.is_ascii_digit()).collect();
        Self { checker, signature, text }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.checker, self.text)
    }
}
