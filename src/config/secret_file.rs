//! Files of shared secrets, and the size of files that are read again and again.

use std::{
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
};

use super::checked::Secret;

/// A file of secrets or keys beyond this is none.
const FILE_LIMIT_BYTES: u64 = 262_144;

/// Most values that are good at once in one file of secrets: each request is compared with all of them.
const SECRETS_LIMIT: usize = 16;

/// Length of a shared secret: what is shorter can be guessed.
const SECRET_BYTES: std::ops::RangeInclusive<usize> = 16..=512;

/// Why a file of shared secrets cannot be used. Shows nothing of the values.
#[derive(Debug, thiserror::Error)]
pub enum SecretFileError {
    /// It cannot be read.
    #[error("cannot read {path}")]
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A line is no secret.
    #[error(
        "line {line} of {path} is no secret: {} to {} visible ASCII characters",
        SECRET_BYTES.start(),
        SECRET_BYTES.end()
    )]
    Line {
        /// Which file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
    },
    /// There is none in it, or too many.
    #[error("{path} holds {count} secrets, expected 1 to {SECRETS_LIMIT}, one a line")]
    Count {
        /// Which file.
        path: PathBuf,
        /// How many.
        count: usize,
    },
}

/// Reads a file of shared secrets: one a line, empty lines passed over. Called at start and whenever it changes.
///
/// # Errors
/// When it cannot be read, or holds no secret, too many, or one that is none.
pub fn read_secrets(path: &Path) -> Result<Vec<Secret>, SecretFileError> {
    let bytes = read_bounded(path).map_err(|source| SecretFileError::Unreadable {
        path: path.to_owned(),
        source,
    })?;
    let text = String::from_utf8_lossy(&bytes);
    let lines = text.lines().map(str::trim).enumerate();
    let secrets = lines
        .filter(|(_, line)| !line.is_empty())
        .map(|(index, line)| {
            let good = SECRET_BYTES.contains(&line.len())
                && line.bytes().all(|byte| byte.is_ascii_graphic());
            good.then(|| Secret::new(line.to_owned()))
                .ok_or_else(|| SecretFileError::Line {
                    path: path.to_owned(),
                    line: index + 1,
                })
        })
        .collect::<Result<Vec<_>, _>>()?;
    if (1..=SECRETS_LIMIT).contains(&secrets.len()) {
        return Ok(secrets);
    }
    Err(SecretFileError::Count {
        path: path.to_owned(),
        count: secrets.len(),
    })
}

/// Reads a small file of secrets or keys.
///
/// # Errors
/// When it cannot be read or is no small file.
pub fn read_bounded(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?
        .take(FILE_LIMIT_BYTES + 1)
        .read_to_end(&mut bytes)?;
    if bytes.len() as u64 > FILE_LIMIT_BYTES {
        return Err(io::Error::other(format!(
            "it is larger than {FILE_LIMIT_BYTES} bytes"
        )));
    }
    Ok(bytes)
}
