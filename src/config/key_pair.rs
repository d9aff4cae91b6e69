//! A certificate and its key as files. They are read here so that a configuration with an unusable pair is refused
//! together with everything else that is wrong in it.

use std::{
    io,
    path::{Path, PathBuf},
};

use rustls::{crypto::ring, sign::CertifiedKey};
use rustls_pki_types::{
    CertificateDer, PrivateKeyDer,
    pem::{self, PemObject},
};

use super::{checked::KeyPair, secret_file::read_bounded};

#[derive(Debug, thiserror::Error)]
pub enum KeyPairError {
    /// A file cannot be read.
    #[error("cannot read {}", path.display())]
    Unreadable {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    /// A file does not contain what it should.
    #[error("{} holds no {what} in PEM form", path.display())]
    Pem {
        path: PathBuf,
        what: &'static str,
        #[source]
        source: pem::Error,
    },
    /// They are not a pair, or of an unsupported kind.
    #[error("the key in {} does not belong to the certificate in {}", files.key_file.display(), files.cert_file.display())]
    Pair {
        files: Box<KeyPair>,
        #[source]
        source: Box<rustls::Error>,
    },
}

/// Reads a certificate and its key. Called when a configuration is checked, at start and whenever they change.
///
/// # Errors
/// If they cannot be read, or are not a certificate with its key.
pub fn read_key_pair(files: &KeyPair) -> Result<CertifiedKey, KeyPairError> {
    let chain = pem(
        &files.cert_file,
        "certificate",
        |text| match CertificateDer::pem_slice_iter(text).collect::<Result<Vec<_>, _>>()? {
            none if none.is_empty() => Err(pem::Error::NoItemsFound),
            chain => Ok(chain),
        },
    )?;
    let key = pem(
        &files.key_file,
        "private key",
        PrivateKeyDer::from_pem_slice,
    )?;
    CertifiedKey::from_der(chain, key, &ring::default_provider()).map_err(|source| {
        KeyPairError::Pair {
            files: Box::new(files.clone()),
            source: Box::new(source),
        }
    })
}

fn pem<T>(
    path: &Path,
    what: &'static str,
    parse: impl FnOnce(&[u8]) -> Result<T, pem::Error>,
) -> Result<T, KeyPairError> {
    let text = read_bounded(path).map_err(|source| KeyPairError::Unreadable {
        path: path.to_owned(),
        source,
    })?;
    parse(&text).map_err(|source| KeyPairError::Pem {
        path: path.to_owned(),
        what,
        source,
    })
}
