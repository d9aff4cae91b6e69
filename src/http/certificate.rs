//! The certificate and key of a listener.

use std::{path::PathBuf, sync::Arc};

use arc_swap::ArcSwap;
use rustls::{
    ServerConfig,
    crypto::ring,
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};
use tokio_rustls::TlsAcceptor;
use x509_parser::{certificate::X509Certificate, prelude::FromDer};

use crate::config::{KeyPair, KeyPairError, read_key_pair};

use super::ListenerName;

/// A listener does not have a usable certificate and key.
#[derive(Debug, thiserror::Error)]
#[error("cannot use {setting}")]
pub struct CertificateError {
    /// `server.tls` or `server.admin_tls`.
    setting: &'static str,
    source: KeyPairError,
}

/// The certificate chain and key of one listener. They can be replaced while it runs: new handshakes get the new ones,
/// established connections keep theirs.
#[derive(Debug)]
pub struct Certificate {
    name: ListenerName,
    files: KeyPair,
    current: ArcSwap<CertifiedKey>,
}

impl Certificate {
    /// Reads the files of a listener.
    ///
    /// # Errors
    /// When they cannot be read, or are not a certificate with its key.
    pub fn load(name: ListenerName, files: &KeyPair) -> Result<Arc<Self>, CertificateError> {
        let current = read(name, files)?;
        Ok(Arc::new(Self {
            name,
            files: files.clone(),
            current: ArcSwap::from_pointee(current),
        }))
    }

    #[must_use]
    pub fn name(&self) -> ListenerName {
        self.name
    }

    pub(super) fn files(&self) -> Vec<PathBuf> {
        vec![self.files.cert_file.clone(), self.files.key_file.clone()]
    }

    /// Reads the files again; if they are not usable, the previous certificate stays.
    pub(super) fn reload(&self) -> Result<(), CertificateError> {
        let new = read(self.name, &self.files)?;
        self.current.store(Arc::new(new));
        Ok(())
    }

    /// When the certificate expires, in seconds since 1970; `None` where that cannot be read.
    pub(super) fn expires(&self) -> Option<i64> {
        let current = self.current.load();
        let (_, certificate) = X509Certificate::from_der(current.cert.first()?).ok()?;
        Some(certificate.validity().not_after.timestamp())
    }

    /// Accepts TLS on plain connections.
    pub(super) fn acceptor(self: &Arc<Self>) -> TlsAcceptor {
        let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("ring has suites for TLS 1.2 and 1.3")
            .with_no_client_auth()
            .with_cert_resolver(self.clone());
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        TlsAcceptor::from(Arc::new(config))
    }
}

impl ResolvesServerCert for Certificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.current.load_full())
    }
}

fn read(name: ListenerName, files: &KeyPair) -> Result<CertifiedKey, CertificateError> {
    let setting = name.tls_setting();
    read_key_pair(files).map_err(|source| CertificateError { setting, source })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::report::Chain;

    fn write(dir: &Path, name: &str) -> KeyPair {
        let made = rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
        let files = KeyPair {
            cert_file: dir.join(format!("{name}.crt")),
            key_file: dir.join(format!("{name}.key")),
        };
        std::fs::write(&files.cert_file, made.cert.pem()).unwrap();
        std::fs::write(&files.key_file, made.signing_key.serialize_pem()).unwrap();
        files
    }

    #[track_caller]
    fn check(files: &KeyPair, expected: &str) {
        let error = Certificate::load(ListenerName::Public, files).unwrap_err();
        let error = Chain(&error).to_string();
        assert!(error.starts_with(expected), "{error}\n{expected}");
        assert!(!error.contains("BEGIN"), "{error}");
    }

    #[test]
    fn a_bad_pair_is_refused_and_named() {
        let dir = tempfile::tempdir().unwrap();
        let (one, other) = (write(dir.path(), "one"), write(dir.path(), "other"));
        let identity = Certificate::load(ListenerName::Public, &one).unwrap();
        assert!(identity.expires().unwrap() > jiff::Timestamp::now().as_second());
        let (crt, key) = (one.cert_file.display(), one.key_file.display());
        let with = |cert_file: &Path, key_file: &Path| KeyPair {
            cert_file: cert_file.to_owned(),
            key_file: key_file.to_owned(),
        };
        let missing = dir.path().join("missing");
        check(
            &with(&missing, &one.key_file),
            &format!("cannot use server.tls: cannot read {}: ", missing.display()),
        );
        check(
            &with(&one.key_file, &one.key_file),
            &format!("cannot use server.tls: {key} holds no certificate in PEM form"),
        );
        check(
            &with(&one.cert_file, &one.cert_file),
            &format!("cannot use server.tls: {crt} holds no private key in PEM form"),
        );
        check(
            &with(&one.cert_file, &other.key_file),
            &format!(
                "cannot use server.tls: the key in {} does not belong to the certificate in {crt}: ",
                other.key_file.display()
            ),
        );
    }

    #[test]
    fn a_bad_new_pair_leaves_the_one_before() {
        let dir = tempfile::tempdir().unwrap();
        let (one, other) = (write(dir.path(), "one"), write(dir.path(), "other"));
        let identity = Certificate::load(ListenerName::Admin, &one).unwrap();
        let shown = || identity.current.load().cert.first().unwrap().to_vec();
        let before = shown();
        std::fs::copy(&other.cert_file, &one.cert_file).unwrap();
        let error = identity.reload().unwrap_err().to_string();
        assert!(error == "cannot use server.admin_tls", "{error}");
        assert_eq!(shown(), before);
        std::fs::copy(&other.key_file, &one.key_file).unwrap();
        identity.reload().unwrap();
        assert_ne!(shown(), before);
    }
}
