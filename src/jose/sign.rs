//! Our own private keys: made, read from PKCS#8, and signed with.
//!
//! Owns the parsed key pairs; a key is parsed once, not at every signature. Does not know where a
//! key file lies, what is signed, or for whom, nor which of several keys signs.

use std::fmt;

use aws_lc_rs::encoding::AsDer as _;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    self as crypto, EcdsaKeyPair, EcdsaSigningAlgorithm, Ed25519KeyPair, KeyPair as _, RsaEncoding,
    RsaKeyPair, RsaPublicKeyComponents,
};
use serde::Serialize;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::{Algorithm, MAX_KID, base64url, key, pem};

/// A private key of ours, bound to one algorithm and one `kid`.
pub struct SigningKey {
    algorithm: Algorithm,
    kid: String,
    pair: Pair,
    /// `kty` and the members that make the public key.
    public: Value,
}

/// The key pairs of `aws-lc-rs` that sign for us; it wipes them when they are dropped.
enum Pair {
    Ec(EcdsaKeyPair),
    Ed(Ed25519KeyPair),
    Rsa(RsaKeyPair),
}

impl SigningKey {
    /// A new key for an algorithm.
    ///
    /// RSA keys have 2048 bits: signing with 3072 takes about four times as long, every verifier
    /// takes 2048, and NIST SP 800-57 holds them good through 2030, far beyond the life of a key that
    /// is rotated. Whoever wants more brings a PEM file or uses an elliptic curve.
    ///
    /// # Errors
    /// [`KeyError::Generate`] when the random source fails.
    pub fn generate(algorithm: Algorithm) -> Result<Self, KeyError> {
        Self::new(Pair::generate(algorithm)?, algorithm)
    }

    /// The PKCS#8 PEM text of a new key, as [`generate`](Self::generate) makes it and
    /// [`from_pem`](Self::from_pem) reads it.
    ///
    /// # Errors
    /// As [`generate`](Self::generate).
    pub fn generate_pem(algorithm: Algorithm) -> Result<Zeroizing<String>, KeyError> {
        match Pair::generate(algorithm)? {
            Pair::Ec(pair) => pair.to_pkcs8v1().map(|der| pem::encode(der.as_ref())),
            Pair::Ed(pair) => pair.to_pkcs8v1().map(|der| pem::encode(der.as_ref())),
            Pair::Rsa(pair) => pair.as_der().map(|der| pem::encode(der.as_ref())),
        }
        .map_err(|_| KeyError::Generate)
    }

    /// Reads a PEM text with one unencrypted PKCS#8 `PRIVATE KEY` (RFC 5958, RFC 7468 §10). The
    /// key's type says its algorithm: P-256 `ES256`, P-384 `ES384`, Ed25519 `EdDSA`, RSA `RS256` unless
    /// [`for_algorithm`](Self::for_algorithm) says another.
    ///
    /// # Errors
    /// A [`KeyError`] that says what the file holds instead and what to do about it.
    pub fn from_pem(pem: &[u8]) -> Result<Self, KeyError> {
        let der = pem::decode(pem)?;
        for algorithm in [Algorithm::ES256, Algorithm::ES384] {
            if let Some(signing) = ec_algorithm(algorithm)
                && let Ok(pair) = EcdsaKeyPair::from_pkcs8(signing, &der)
            {
                return Self::new(Pair::Ec(pair), algorithm);
            }
        }
        if let Ok(pair) = Ed25519KeyPair::from_pkcs8(&der) {
            return Self::new(Pair::Ed(pair), Algorithm::EdDSA);
        }
        match RsaKeyPair::from_pkcs8(&der) {
            Ok(pair) => Self::new(Pair::Rsa(pair), Algorithm::RS256),
            Err(why) if why.to_string() == "TooSmall" => Err(KeyError::RsaTooSmall),
            Err(_) => Err(KeyError::NotSupported),
        }
    }

    fn new(pair: Pair, algorithm: Algorithm) -> Result<Self, KeyError> {
        let public = pair.public()?;
        let kid = key::thumbprint(&public).map_err(|reason| KeyError::Unsafe { reason })?;
        Ok(Self {
            algorithm,
            kid,
            pair,
            public,
        })
    }

    /// The same key for another algorithm that its type allows: an RSA key is for any of RSA's.
    ///
    /// # Errors
    /// [`KeyError::OtherType`] for an algorithm of another type of key.
    pub fn for_algorithm(self, algorithm: Algorithm) -> Result<Self, KeyError> {
        let rsa = matches!(self.pair, Pair::Rsa(_)) && algorithm.is_rsa();
        if rsa || algorithm == self.algorithm {
            Ok(Self { algorithm, ..self })
        } else {
            Err(KeyError::OtherType(algorithm))
        }
    }

    /// The same key under a `kid` of the operator's choice.
    /// [`SigningKeys::new`](super::SigningKeys::new) checks it.
    #[must_use]
    pub fn with_kid(self, kid: String) -> Self {
        Self { kid, ..self }
    }

    /// The algorithm the key signs with.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The key's name in headers and in the published set: its RFC 7638 thumbprint unless
    /// [`with_kid`](Self::with_kid) gave another.
    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// The public key as published: `kty`, its members, `alg`, `use` and `kid`.
    pub fn public_jwk(&self) -> Value {
        let mut jwk = self.public.clone();
        if let Some(members) = jwk.as_object_mut() {
            members.insert("alg".into(), self.algorithm.as_str().into());
            members.insert("use".into(), "sig".into());
            members.insert("kid".into(), self.kid.as_str().into());
        }
        jwk
    }

    /// The signature over `message` in the form of RFC 7518 §3 (`r` and `s` side by side for
    /// ECDSA).
    ///
    /// # Errors
    /// [`KeyError::Sign`] when the library fails, which it does on exhausted memory or randomness.
    pub fn sign(&self, message: &[u8]) -> Result<Vec<u8>, KeyError> {
        let random = SystemRandom::new();
        match &self.pair {
            Pair::Ec(pair) => pair
                .sign(&random, message)
                .map(|made| made.as_ref().to_vec()),
            Pair::Ed(pair) => pair.try_sign(message).map(|made| made.as_ref().to_vec()),
            Pair::Rsa(pair) => {
                let mut made = vec![0; pair.public_modulus_len()];
                pair.sign(padding(self.algorithm), &random, message, &mut made)
                    .map(|()| made)
            }
        }
        .map_err(|_| KeyError::Sign)
    }

    /// A compact JWS (RFC 7515 §7.1) with the header `alg`, `kid`, `typ` and this payload.
    ///
    /// # Errors
    /// [`KeyError::Payload`] when the payload does not serialize, else as [`sign`](Self::sign).
    pub fn compact(
        &self,
        typ: &str,
        payload: &(impl Serialize + ?Sized),
    ) -> Result<String, KeyError> {
        let header = json!({"alg": self.algorithm.as_str(), "kid": self.kid, "typ": typ});
        let payload = serde_json::to_vec(payload).map_err(|_| KeyError::Payload)?;
        let mut token = base64url::encode(header.to_string());
        token.push('.');
        token.push_str(&base64url::encode(payload));
        let signature = self.sign(token.as_bytes())?;
        token.push('.');
        token.push_str(&base64url::encode(signature));
        Ok(token)
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey")
            .field("kid", &self.kid)
            .field("algorithm", &self.algorithm)
            .finish_non_exhaustive()
    }
}

/// Why a key of ours cannot be made, read or used. The messages hold nothing of the key.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum KeyError {
    /// The algorithm is for another type of key.
    #[error("this key is of another type than {0} needs")]
    OtherType(Algorithm),
    /// The library failed to make a key.
    #[error("the key could not be generated")]
    Generate,
    /// No PEM block at all.
    #[error("no `-----BEGIN PRIVATE KEY-----` block found")]
    NotPem,
    /// A block is cut short, mislabelled or not base64.
    #[error("the PEM block is malformed")]
    MalformedPem,
    /// More than one block.
    #[error("several PEM blocks found; put each private key in a file of its own")]
    SeveralBlocks,
    /// An elliptic curve key in the old form of SEC 1.
    #[error("an `EC PRIVATE KEY` is not PKCS#8; convert it: {TO_PKCS8}")]
    Sec1,
    /// An RSA key in the old form of PKCS#1.
    #[error("an `RSA PRIVATE KEY` is not PKCS#8; convert it: {TO_PKCS8}")]
    Pkcs1,
    /// The key is under a passphrase.
    #[error("the private key is encrypted; decrypt it: {TO_PKCS8}")]
    Encrypted,
    /// A public key.
    #[error("this is a public key; signing needs the private one")]
    Public,
    /// A certificate, parameters, …
    #[error("the PEM block is not a private key")]
    OtherBlock,
    /// Not PKCS#8, damaged, or of another type.
    #[error("not a private key for P-256, P-384, Ed25519 or RSA of 2048 to 8192 bits in PKCS#8")]
    NotSupported,
    /// Fewer than 2048 bits.
    #[error("the RSA key has fewer than 2048 bits")]
    RsaTooSmall,
    /// The public half is refused by [`PublicKey::from_jwk`](super::PublicKey::from_jwk).
    #[error("the key is not safe to publish: {reason}")]
    Unsafe {
        /// The code given there.
        reason: &'static str,
    },
    /// An empty list of keys.
    #[error("no signing key is given")]
    NoKeys,
    /// The `kid` is empty or too long.
    #[error("a `kid` has 1 to {MAX_KID} bytes")]
    BadKid,
    /// Two keys of one `kid`.
    #[error("two signing keys have the same `kid`")]
    KidTwice,
    /// A key that is published, or was until lately, has the `kid` already.
    #[error("the `kid` is in use for another key or algorithm, whose tokens may still be out")]
    KidInUse,
    /// A key that is published has this `kid`, and is the same but for its algorithm.
    #[error("a key is in use for one algorithm, and would be for another under the same `kid`")]
    AlgChanged,
    /// The library failed to sign.
    #[error("the signature could not be made")]
    Sign,
    /// The payload cannot be written as JSON.
    #[error("the payload cannot be written as JSON")]
    Payload,
}

const TO_PKCS8: &str = "openssl pkcs8 -topk8 -nocrypt -in key.pem -out pkcs8.pem";

impl Pair {
    fn generate(algorithm: Algorithm) -> Result<Self, KeyError> {
        match algorithm {
            Algorithm::EdDSA => Ed25519KeyPair::generate().map(Self::Ed),
            _ => match ec_algorithm(algorithm) {
                Some(signing) => EcdsaKeyPair::generate(signing).map(Self::Ec),
                None => RsaKeyPair::generate(KeySize::Rsa2048).map(Self::Rsa),
            },
        }
        .map_err(|_| KeyError::Generate)
    }

    fn public(&self) -> Result<Value, KeyError> {
        match self {
            Self::Ec(pair) => {
                // 0x04, then both coordinates.
                let (curve, length) = match pair.public_key().as_ref().len() {
                    65 => ("P-256", 32),
                    97 => ("P-384", 48),
                    _ => return Err(KeyError::NotSupported),
                };
                let point = pair.public_key().as_ref().split_first();
                let (x, y) = point
                    .and_then(|(_, coordinates)| coordinates.split_at_checked(length))
                    .ok_or(KeyError::NotSupported)?;
                Ok(json!({
                    "kty": "EC",
                    "crv": curve,
                    "x": base64url::encode(x),
                    "y": base64url::encode(y),
                }))
            }
            Self::Ed(pair) => Ok(json!({
                "kty": "OKP",
                "crv": "Ed25519",
                "x": base64url::encode(pair.public_key()),
            })),
            Self::Rsa(pair) => {
                let public = RsaPublicKeyComponents::<Vec<u8>>::from(pair.public_key());
                Ok(json!({
                    "kty": "RSA",
                    "n": base64url::encode(public.n),
                    "e": base64url::encode(public.e),
                }))
            }
        }
    }
}

fn ec_algorithm(algorithm: Algorithm) -> Option<&'static EcdsaSigningAlgorithm> {
    match algorithm {
        Algorithm::ES256 => Some(&crypto::ECDSA_P256_SHA256_FIXED_SIGNING),
        Algorithm::ES384 => Some(&crypto::ECDSA_P384_SHA384_FIXED_SIGNING),
        _ => None,
    }
}

/// What an RSA key does for each algorithm (RFC 7518 §3.3, §3.5).
fn padding(algorithm: Algorithm) -> &'static dyn RsaEncoding {
    match algorithm {
        Algorithm::RS384 => &crypto::RSA_PKCS1_SHA384,
        Algorithm::RS512 => &crypto::RSA_PKCS1_SHA512,
        Algorithm::PS256 => &crypto::RSA_PSS_SHA256,
        Algorithm::PS384 => &crypto::RSA_PSS_SHA384,
        Algorithm::PS512 => &crypto::RSA_PSS_SHA512,
        // No RSA key is bound to one of the others.
        Algorithm::RS256 | Algorithm::ES256 | Algorithm::ES384 | Algorithm::EdDSA => {
            &crypto::RSA_PKCS1_SHA256
        }
    }
}

#[cfg(test)]
mod tests;
