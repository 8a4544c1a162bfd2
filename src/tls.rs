//! TLS on our own listeners: certificates, chosen by the name that a client asks for, and the handshake.
//!
//! With `net`, the only file that names `rustls`. Knows nothing of HTTP but the names of its versions (ALPN,
//! RFC 7301).

use std::fmt;
use std::io;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::client::verify_server_name;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::{ClientHello, ParsedCertificate, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use x509_parser::parse_x509_certificate;

use crate::oauth::NumericDate;

/// A certificate with its chain, and its private key.
#[derive(Clone)]
pub struct Identity {
    name: Arc<str>,
    pair: Arc<CertifiedKey>,
    not_after: NumericDate,
}

/// Why a certificate cannot serve. The words follow the name of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TlsError {
    /// No certificate in the file.
    #[error("has no certificate (`BEGIN CERTIFICATE`)")]
    NoCertificate,
    /// Something in the file is no certificate.
    #[error("has something that is no certificate")]
    Certificate,
    /// No private key in the file.
    #[error("has no private key (`BEGIN PRIVATE KEY`)")]
    NoKey,
    /// The key is of a kind that cannot sign here.
    #[error(
        "has a private key that cannot be used: RSA from 2048 bits, P-256, P-384, P-521 and Ed25519 can"
    )]
    Key,
    /// The key belongs to another certificate.
    #[error("has the private key of another certificate")]
    Mismatch,
    /// No certificate at all.
    #[error("names no certificate")]
    None,
    /// The library refused it.
    #[error("cannot be set up")]
    SetUp,
}

/// Which of the two files is at fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The certificates.
    Certificate(TlsError),
    /// The private key.
    Key(TlsError),
}

impl Identity {
    /// Reads the certificates (the server's own first) and the private key of two PEM files; `name` is what
    /// people call the first.
    ///
    /// # Errors
    /// Says which file is at fault, and what is wrong with it.
    pub fn from_pem(name: &str, certificates: &[u8], key: &[u8]) -> Result<Self, Fault> {
        let mut chain = Vec::new();
        for found in CertificateDer::pem_slice_iter(certificates) {
            chain.push(found.map_err(|_| Fault::Certificate(TlsError::Certificate))?);
        }
        let first = chain
            .first()
            .ok_or(Fault::Certificate(TlsError::NoCertificate))?;
        let not_after = parse_x509_certificate(first)
            .map_err(|_| Fault::Certificate(TlsError::Certificate))?
            .1
            .validity()
            .not_after
            .timestamp();
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|_| Fault::Key(TlsError::NoKey))?;
        let provider = provider();
        let key = provider
            .key_provider
            .load_private_key(key)
            .map_err(|_| Fault::Key(TlsError::Key))?;
        let pair = CertifiedKey::new(chain, key);
        match pair.keys_match() {
            Ok(()) => Ok(Self {
                name: Arc::from(name),
                pair: Arc::new(pair),
                not_after: NumericDate(not_after),
            }),
            Err(rustls::Error::InconsistentKeys(_)) => Err(Fault::Key(TlsError::Mismatch)),
            Err(_) => Err(Fault::Certificate(TlsError::Certificate)),
        }
    }

    /// What people call it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// When it expires.
    #[must_use]
    pub fn not_after(&self) -> NumericDate {
        self.not_after
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity")
            .field("name", &self.name)
            .field("not_after", &self.not_after)
            .finish_non_exhaustive()
    }
}

/// What a listener shows to its clients.
#[derive(Clone, Debug)]
pub struct ServerTls {
    config: Arc<ServerConfig>,
    identities: Arc<[Identity]>,
}

impl ServerTls {
    /// TLS 1.2 and 1.3, HTTP/2 and HTTP/1.1, without client certificates. Of several identities a client gets
    /// the first that is good for the name that it asks for, or the first of all.
    ///
    /// # Errors
    /// Without any identity, or where the library cannot be set up.
    pub fn new(identities: Vec<Identity>) -> Result<Self, TlsError> {
        if identities.is_empty() {
            return Err(TlsError::None);
        }
        let pairs = identities.iter().map(|identity| Arc::clone(&identity.pair));
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(|_| TlsError::SetUp)?
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(ByName(pairs.collect())));
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Self {
            config: Arc::new(config),
            identities: identities.into(),
        })
    }

    /// The certificates.
    #[must_use]
    pub fn identities(&self) -> &[Identity] {
        &self.identities
    }

    /// Shakes hands.
    ///
    /// # Errors
    /// Where the client does not, or the connection ends.
    pub async fn accept<S>(&self, stream: S) -> io::Result<TlsStream<S>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        TlsAcceptor::from(Arc::clone(&self.config))
            .accept(stream)
            .await
    }
}

/// The only cryptography that is compiled in.
fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

/// The certificates in the order of the configuration.
#[derive(Debug)]
struct ByName(Vec<Arc<CertifiedKey>>);

impl ResolvesServerCert for ByName {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let name = hello
            .server_name()
            .and_then(|name| ServerName::try_from(name).ok());
        let good_for = |pair: &&Arc<CertifiedKey>| {
            let (Some(name), Some(first)) = (&name, pair.cert.first()) else {
                return false;
            };
            ParsedCertificate::try_from(first)
                .is_ok_and(|certificate| verify_server_name(&certificate, name).is_ok())
        };
        self.0
            .iter()
            .find(good_for)
            .or(self.0.first())
            .map(Arc::clone)
    }
}
