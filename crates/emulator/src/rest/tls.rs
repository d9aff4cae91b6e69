//! The certificate of the https listener: made at start by an authority that lives as long as the emulator.

use std::{
    collections::BTreeSet,
    fs,
    io::{self, Write},
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    sync::Arc,
};

use jiff::{ToSpan, Zoned, tz::TimeZone};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose, date_time_ymd,
};
use rustls::{ServerConfig, crypto::ring};
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

/// Why there is no https listener.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TlsError {
    #[error("cannot make the certificates of the https listener")]
    Certificate(#[source] rcgen::Error),
    #[error("cannot use the certificate that was just made for the https listener")]
    Config(#[source] rustls::Error),
    #[error("cannot write the certificate of the emulator's authority to {}", path.display())]
    Write {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
}

/// What the https listener shows, and what its clients have to trust.
pub(crate) struct ServerCertificate {
    /// For the listener. The keys are only in memory.
    pub(crate) server: ServerConfig,
    ca_pem: String,
}

impl ServerCertificate {
    /// Makes an authority and a certificate for the loopback and the address of the listener.
    ///
    /// # Errors
    /// [`TlsError::Certificate`], [`TlsError::Config`].
    pub(crate) fn make(listen: IpAddr) -> Result<Self, TlsError> {
        let ca = authority().map_err(TlsError::Certificate)?;
        let (certificate, key) = certificate(listen, &ca).map_err(TlsError::Certificate)?;
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let server = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(TlsError::Config)?
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key)
            .map_err(TlsError::Config)?;
        Ok(Self {
            server,
            ca_pem: ca.pem(),
        })
    }

    /// Writes the authority's certificate for clients: readable by all, because it is not secret.
    ///
    /// # Errors
    /// [`TlsError::Write`]: for example its directory does not exist.
    pub(crate) fn write_ca(&self, path: &Path) -> Result<(), TlsError> {
        let failed = |source| TlsError::Write {
            path: path.to_owned(),
            source,
        };
        let mut file = fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(READABLE)
            .open(path)
            .map_err(failed)?;
        // The mode is set whatever the umask or the mode of an existing file.
        file.set_permissions(fs::Permissions::from_mode(READABLE))
            .map_err(failed)?;
        file.write_all(self.ca_pem.as_bytes()).map_err(failed)
    }
}

const READABLE: u32 = 0o644;

fn authority() -> Result<CertifiedIssuer<'static, KeyPair>, rcgen::Error> {
    let mut params = params(Vec::new(), "Hookswitch emulator CA")?;
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    CertifiedIssuer::self_signed(params, KeyPair::generate()?)
}

fn certificate(
    listen: IpAddr,
    ca: &CertifiedIssuer<'static, KeyPair>,
) -> Result<(rcgen::Certificate, KeyPair), rcgen::Error> {
    let addresses = BTreeSet::from([
        IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(Ipv6Addr::LOCALHOST),
        listen,
    ]);
    let names = addresses
        .iter()
        // The unspecified address is not one to connect to.
        .filter(|address| !address.is_unspecified())
        .map(IpAddr::to_string)
        .chain(["localhost".to_owned()])
        .collect();
    let mut params = params(names, "Hookswitch emulator")?;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    // Strict checkers (Python 3.13) require it.
    params.use_authority_key_identifier_extension = true;
    let key = KeyPair::generate()?;
    Ok((params.signed_by(&key, ca)?, key))
}

/// From yesterday, for clocks that are slow, and for a year: some clients refuse more than 825 days.
fn params(names: Vec<String>, common_name: &str) -> Result<CertificateParams, rcgen::Error> {
    let mut params = CertificateParams::new(names)?;
    params
        .distinguished_name
        .push(DnType::CommonName, common_name);
    let today = Zoned::now().with_time_zone(TimeZone::UTC).date();
    let date = |date: jiff::civil::Date| {
        date_time_ymd(
            i32::from(date.year()),
            date.month().unsigned_abs(),
            date.day().unsigned_abs(),
        )
    };
    params.not_before = date(today.saturating_sub(1.day()));
    params.not_after = date(today.saturating_add(1.year()));
    Ok(params)
}

#[cfg(test)]
mod tests {
    use rustls::{
        ClientConfig, ClientConnection, RootCertStore, ServerConnection, pki_types::ServerName,
    };
    use rustls_pki_types::{CertificateDer, pem::PemObject};

    use super::*;

    /// A handshake in memory with a client that trusts the written file alone.
    fn handshake(identity: &ServerCertificate, ca: &Path, name: &str) -> Result<(), rustls::Error> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(ca).expect("a certificate"))?;
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let name = ServerName::try_from(name.to_owned()).expect("a name");
        let mut client = ClientConnection::new(Arc::new(config), name)?;
        let mut server = ServerConnection::new(Arc::new(identity.server.clone()))?;
        while client.is_handshaking() || server.is_handshaking() {
            let mut wire = Vec::new();
            client.write_tls(&mut wire).expect("memory");
            server.read_tls(&mut wire.as_slice()).expect("memory");
            server.process_new_packets()?;
            let mut wire = Vec::new();
            server.write_tls(&mut wire).expect("memory");
            client.read_tls(&mut wire.as_slice()).expect("memory");
            client.process_new_packets()?;
        }
        Ok(())
    }

    #[test]
    fn clients_that_trust_the_written_authority_can_connect() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("ca.pem");
        let identity =
            ServerCertificate::make("192.0.2.7".parse().expect("an address")).expect("made");
        identity.write_ca(&path).expect("written");
        for name in ["127.0.0.1", "::1", "localhost", "192.0.2.7"] {
            assert_eq!(handshake(&identity, &path, name), Ok(()), "{name}");
        }
        assert!(handshake(&identity, &path, "192.0.2.8").is_err());

        let other =
            ServerCertificate::make("127.0.0.1".parse().expect("an address")).expect("made");
        assert!(
            handshake(&other, &path, "127.0.0.1").is_err(),
            "another authority"
        );
    }

    #[test]
    fn the_authority_is_readable_by_all_and_holds_no_key() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("ca.pem");
        fs::write(&path, "an older and longer file".repeat(1000)).expect("written");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("set");
        let identity =
            ServerCertificate::make("0.0.0.0".parse().expect("an address")).expect("made");
        identity.write_ca(&path).expect("written");
        let mode = fs::metadata(&path).expect("there").permissions().mode();
        assert_eq!(mode & 0o777, 0o644);
        let text = fs::read_to_string(&path).expect("text");
        assert_eq!(text, identity.ca_pem);
        assert!(!text.contains("PRIVATE"));
    }

    #[test]
    fn a_directory_that_is_not_there_is_named() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("absent/ca.pem");
        let identity =
            ServerCertificate::make("127.0.0.1".parse().expect("an address")).expect("made");
        let error = identity.write_ca(&path).expect_err("no directory");
        assert!(error.to_string().contains("absent/ca.pem"), "{error}");
    }
}
