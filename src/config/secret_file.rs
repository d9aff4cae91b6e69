//! Files of shared secrets, and the size limit of files that are read repeatedly.

use std::{
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
};

use super::secret::Secret;

/// A larger file is not a file of secrets or keys.
const FILE_LIMIT_BYTES: u64 = 262_144;

/// Most values in one file of secrets: each request is compared with all of them.
const SECRETS_LIMIT: usize = 16;

/// Length of a shared secret: a shorter one can be guessed.
const SECRET_BYTES: std::ops::RangeInclusive<usize> = 16..=512;

/// Why a file of shared secrets cannot be used. Shows nothing of the values.
#[derive(Debug, thiserror::Error)]
pub enum SecretFileError {
    /// It cannot be read.
    #[error("cannot read {path}")]
    Unreadable {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    /// A line is not a secret.
    #[error(
        "line {line} of {path} is not a secret: {} to {} visible ASCII characters",
        SECRET_BYTES.start(),
        SECRET_BYTES.end()
    )]
    Line { path: PathBuf, line: usize },
    /// It holds no secret, or too many.
    #[error("{path} holds {count} secrets, expected 1 to {SECRETS_LIMIT}, one per line")]
    Count { path: PathBuf, count: usize },
}

/// Reads a file of shared secrets: one per line, empty lines are skipped. Called at start and whenever it changes.
///
/// # Errors
/// If it cannot be read, or holds no secret, too many, or a line that is not a secret.
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
/// If it cannot be read or is too large.
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
