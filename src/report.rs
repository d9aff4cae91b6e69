//! The one place where an error becomes text.

use std::{error::Error, fmt};

/// Shows an error and all its causes, joined by `: `. Some libraries print their cause and also return it; a cause that
/// the error's text already ends with is not repeated.
#[derive(Clone, Copy, Debug)]
pub struct Chain<'e>(pub &'e (dyn Error + 'static));

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut said = self.0.to_string();
        f.write_str(&said)?;
        let mut cause = self.0.source();
        while let Some(error) = cause {
            let text = error.to_string();
            if !said.ends_with(&text) {
                write!(f, ": {text}")?;
                said = text;
            }
            cause = error.source();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("cannot open the lock")]
    struct Outer(#[source] io::Error);

    #[test]
    fn every_cause_is_printed_once() {
        let error = Outer(io::Error::other("no key"));
        assert_eq!(Chain(&error).to_string(), "cannot open the lock: no key");
    }

    #[derive(Debug, thiserror::Error)]
    #[error("lock: {0}")]
    struct Chatty(#[source] io::Error);

    #[test]
    fn a_cause_that_was_printed_already_is_not_repeated() {
        let error = Chatty(io::Error::other("no key"));
        assert_eq!(Chain(&error).to_string(), "lock: no key");
    }
}
