//! The one place where an error becomes text.

use std::{error::Error, fmt};

/// Shows an error and every cause behind it, joined by `: `.
#[derive(Clone, Copy, Debug)]
pub struct Chain<'e>(pub &'e (dyn Error + 'static));

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        let mut cause = self.0.source();
        while let Some(error) = cause {
            write!(f, ": {error}")?;
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
    #[error("cannot open the door")]
    struct Outer(#[source] io::Error);

    #[test]
    fn every_cause_is_printed_once() {
        let error = Outer(io::Error::other("no key"));
        assert_eq!(Chain(&error).to_string(), "cannot open the door: no key");
    }
}
