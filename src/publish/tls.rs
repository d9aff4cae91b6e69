//! The certificates of a connection with TLS.

use std::path::Path;

use lapin::tcp::{RustlsConnector, RustlsConnectorConfig};
use rustls_pki_types::{
    CertificateDer, PrivateKeyDer,
    pem::{self, PemObject},
};

use crate::config::Tls;

use super::PublishError;

/// Reads the files of `broker.tls`. They are read again for each connection, so that rotated ones are used.
///
/// # Errors
/// A file that cannot be read or used, by name.
pub(super) async fn connector(tls: &Tls) -> Result<RustlsConnector, PublishError> {
    let tls = tls.clone();
    tokio::task::spawn_blocking(move || build(&tls))
        .await
        .map_err(|_| PublishError::PartEnded {
            part: "reader of the TLS files",
        })?
}

fn build(tls: &Tls) -> Result<RustlsConnector, PublishError> {
    let mut config = match RustlsConnectorConfig::new_with_native_certs() {
        Ok(config) => config,
        // An image needs no system certificates if the broker's authority is configured.
        Err(error) if tls.ca_file.is_some() => {
            tracing::debug!(%error, "the system has no certificates: broker.tls.ca_file alone is trusted");
            RustlsConnectorConfig::default()
        }
        Err(source) => return Err(PublishError::NoAuthorities(source)),
    };
    if let Some(path) = &tls.ca_file {
        config.add_parsable_certificates(certificates(path)?);
    }
    let connector = match (&tls.cert_file, &tls.key_file) {
        (Some(cert), Some(key)) => {
            config.connector_with_single_cert(certificates(cert)?, private_key(key)?)
        }
        (None, None) => config.connector_with_no_client_auth(),
        (Some(_), None) | (None, Some(_)) => return Err(PublishError::HalfIdentity),
    };
    connector.map_err(PublishError::Tls)
}

/// All certificates of a file; other content is skipped, but a file without any certificate is an error.
fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, PublishError> {
    const WHAT: &str = "certificate";
    let text = read(path)?;
    let all = CertificateDer::pem_slice_iter(&text)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|source| unusable(path, WHAT, source))?;
    if all.is_empty() {
        return Err(unusable(path, WHAT, pem::Error::NoItemsFound));
    }
    Ok(all)
}

/// The first key of a file, in any of the usual forms: PKCS #8, PKCS #1 or SEC 1.
fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, PublishError> {
    PrivateKeyDer::from_pem_slice(&read(path)?)
        .map_err(|source| unusable(path, "private key", source))
}

fn unusable(path: &Path, what: &'static str, source: pem::Error) -> PublishError {
    PublishError::Pem {
        path: path.to_owned(),
        what,
        source,
    }
}

fn read(path: &Path) -> Result<Vec<u8>, PublishError> {
    std::fs::read(path).map_err(|source| PublishError::File {
        path: path.to_owned(),
        source,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_without_what_it_is_for_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ca.crt");
        std::fs::write(&path, "-----BEGIN X-----\nAAAA\n-----END X-----\n").unwrap();
        for error in [
            certificates(&path).unwrap_err(),
            private_key(&path).unwrap_err(),
            certificates(&dir.path().join("absent.crt")).unwrap_err(),
        ] {
            let text = super::super::error::chain(&error);
            assert!(text.contains(".crt"), "{text}");
        }
    }

    #[test]
    fn a_certificate_without_its_key_is_refused() {
        let half = Tls {
            cert_file: Some("client.crt".into()),
            ..Tls::default()
        };
        assert!(matches!(build(&half), Err(PublishError::HalfIdentity)));
    }
}
