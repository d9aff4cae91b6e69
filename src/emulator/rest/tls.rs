//! The certificate of the https listener: made at the start by an authority that lives as long as the emulator.

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
pub(crate) struct Identity {
    /// For the listener. The keys are only in memory.
    pub(crate) server: ServerConfig,
    ca_pem: String,
}

impl Identity {
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

    /// Writes the authority's certificate for clients: readable by all, for it is no secret.
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
        // Neither the umask nor the mode of a file that was there before decides.
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
        // An address that stands for all of them is none to connect to.
        .filter(|address| !address.is_unspecified())
        .map(IpAddr::to_string)
        .chain(["localhost".to_owned()])
        .collect();
    let mut params = params(names, "Hookswitch emulator")?;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    // Strict checkers (Python 3.13) want it.
    params.use_authority_key_identifier_extension = true;
    let key = KeyPair::generate()?;
    Ok((params.signed_by(&key, ca)?, key))
}

/// From yesterday, for clocks that are behind, for a year: some clients refuse more than 825 days.
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
