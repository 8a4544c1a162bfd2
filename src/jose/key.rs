//! One public key, read from a JWK (RFC 7517 §4, RFC 7518 §6, RFC 8037 §2) and bound for good to
//! one algorithm (RFC 8725 §3.1).
//!
//! Owns which JWKs are fit to check signatures with. Does not know the other keys of the issuer.
//! A refused key is told by a code, not an error of its own kind, because a bad key in a set is an
//! observation about the issuer and ends nothing.

use std::fmt;

use aws_lc_rs::signature::{
    self as crypto, ParsedPublicKey, RsaParameters, RsaPublicKeyComponents,
};
use jsonwebtoken::jwk as jwt;
use serde_json::Value;

use super::header::is_kid;
use super::{Algorithm, Object, base64url, roca};

/// A public key that checks signatures of exactly one algorithm.
pub struct PublicKey {
    kid: Option<String>,
    algorithm: Algorithm,
    key: ParsedPublicKey,
}

impl PublicKey {
    /// Reads a JWK. `allowed` are the algorithms its owner may use, none meaning all.
    ///
    /// Without an `alg` the algorithm is the curve's, or the only RSA algorithm in `allowed`, or
    /// `RS256` when `allowed` is empty.
    ///
    /// # Errors
    /// A code in snake case:
    /// `not_an_object`, `kid_malformed`, `kty_missing`, `symmetric`, `kty_unsupported`,
    /// `private_member` (the key is compromised), `use_not_sig`, `key_ops_malformed`,
    /// `key_ops_not_verify`, `alg_malformed`, `alg_unsupported`, `alg_mismatch`, `alg_not_allowed`,
    /// `alg_ambiguous`, `crv_unsupported`, `member_missing`, `base64_invalid`, `length_wrong`,
    /// `point_invalid`, `modulus_malformed`, `modulus_too_small`, `modulus_too_large`,
    /// `modulus_roca`, `exponent_unsafe`, `key_rejected`.
    pub fn from_jwk(jwk: &Value, allowed: &[Algorithm]) -> Result<Self, &'static str> {
        let jwk = jwk.as_object().ok_or("not_an_object")?;
        let kid = kid(jwk)?;
        let material = Material::read(jwk)?;
        check_purpose(jwk)?;
        let algorithm = bind(jwk, &material, allowed)?;
        let key = material.parse(algorithm)?;
        Ok(Self {
            kid,
            algorithm,
            key,
        })
    }

    /// `kid`, when the key has one.
    pub fn kid(&self) -> Option<&str> {
        self.kid.as_deref()
    }

    /// The algorithm the key is bound to.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// Whether `signature` is this key's over `message`.
    pub fn verify(&self, message: &[u8], signature: &[u8]) -> bool {
        self.key.verify_sig(message, signature).is_ok()
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PublicKey")
            .field("kid", &self.kid)
            .field("algorithm", &self.algorithm)
            .finish_non_exhaustive()
    }
}

/// The SHA-256 thumbprint of a public JWK (RFC 7638), in base64url: the default `kid` of our keys,
/// and the `jkt` a sender-constrained token is bound to (RFC 9449 §6.1).
///
/// # Errors
/// The codes of [`PublicKey::from_jwk`] that concern the key itself, `private_member` included.
pub fn thumbprint(jwk: &Value) -> Result<String, &'static str> {
    Material::read(jwk.as_object().ok_or("not_an_object")?)?.thumbprint()
}

/// `kid`; a number or an oversized text takes the key out, because it could not be selected by it.
pub(super) fn kid(jwk: &Object) -> Result<Option<String>, &'static str> {
    match jwk.get("kid") {
        None => Ok(None),
        Some(Value::String(kid)) if is_kid(kid) => Ok(Some(kid.clone())),
        Some(_) => Err("kid_malformed"),
    }
}

/// The members that make the key, in canonical base64url.
enum Material {
    Ec { curve: Curve, x: String, y: String },
    Ed25519 { x: String },
    Rsa { n: String, e: String },
}

#[derive(Clone, Copy)]
enum Curve {
    P256,
    P384,
}

impl Material {
    fn read(jwk: &Object) -> Result<Self, &'static str> {
        const PRIVATE: [&str; 8] = ["d", "p", "q", "dp", "dq", "qi", "oth", "k"];
        let kty = string(jwk, "kty").map_err(|_| "kty_missing")?;
        if kty == "oct" {
            return Err("symmetric");
        }
        if PRIVATE.iter().any(|member| jwk.contains_key(*member)) {
            return Err("private_member");
        }
        match kty {
            "EC" => {
                let curve = match string(jwk, "crv")? {
                    "P-256" => Curve::P256,
                    "P-384" => Curve::P384,
                    _ => return Err("crv_unsupported"),
                };
                let length = curve.coordinate_length();
                Ok(Self::Ec {
                    curve,
                    x: octets(jwk, "x", length)?,
                    y: octets(jwk, "y", length)?,
                })
            }
            "OKP" => match string(jwk, "crv")? {
                "Ed25519" => Ok(Self::Ed25519 {
                    x: octets(jwk, "x", 32)?,
                }),
                _ => Err("crv_unsupported"),
            },
            "RSA" => {
                let (n, e) = (string(jwk, "n")?, string(jwk, "e")?);
                check_modulus(&decode(n)?)?;
                check_exponent(&decode(e)?)?;
                Ok(Self::Rsa {
                    n: n.to_owned(),
                    e: e.to_owned(),
                })
            }
            _ => Err("kty_unsupported"),
        }
    }

    fn fits(&self, algorithm: Algorithm) -> bool {
        match self {
            Self::Ec { curve, .. } => algorithm == curve.algorithm(),
            Self::Ed25519 { .. } => algorithm == Algorithm::EdDSA,
            Self::Rsa { .. } => algorithm.is_rsa(),
        }
    }

    fn parse(&self, algorithm: Algorithm) -> Result<ParsedPublicKey, &'static str> {
        match self {
            Self::Ec { curve, x, y } => {
                let mut point = vec![4];
                point.extend(decode(x)?);
                point.extend(decode(y)?);
                let verification = match curve {
                    Curve::P256 => &crypto::ECDSA_P256_SHA256_FIXED,
                    Curve::P384 => &crypto::ECDSA_P384_SHA384_FIXED,
                };
                ParsedPublicKey::new(verification, point).map_err(|_| "point_invalid")
            }
            Self::Ed25519 { x } => {
                ParsedPublicKey::new(&crypto::ED25519, decode(x)?).map_err(|_| "point_invalid")
            }
            Self::Rsa { n, e } => RsaPublicKeyComponents {
                n: decode(n)?,
                e: decode(e)?,
            }
            .to_parsed_public_key(rsa_parameters(algorithm).ok_or("alg_mismatch")?)
            .map_err(|_| "key_rejected"),
        }
    }

    /// `jsonwebtoken` writes the members into the hashed text as they are, which is safe because
    /// they decoded as canonical base64url.
    fn thumbprint(self) -> Result<String, &'static str> {
        let algorithm = match self {
            Self::Ec { curve, x, y } => {
                jwt::AlgorithmParameters::EllipticCurve(jwt::EllipticCurveKeyParameters {
                    key_type: jwt::EllipticCurveKeyType::EC,
                    curve: match curve {
                        Curve::P256 => jwt::EllipticCurve::P256,
                        Curve::P384 => jwt::EllipticCurve::P384,
                    },
                    x,
                    y,
                })
            }
            Self::Ed25519 { x } => {
                jwt::AlgorithmParameters::OctetKeyPair(jwt::OctetKeyPairParameters {
                    key_type: jwt::OctetKeyPairType::OctetKeyPair,
                    curve: jwt::EllipticCurve::Ed25519,
                    x,
                })
            }
            Self::Rsa { n, e } => jwt::AlgorithmParameters::RSA(jwt::RSAKeyParameters {
                key_type: jwt::RSAKeyType::RSA,
                n,
                e,
            }),
        };
        jwt::Jwk {
            common: jwt::CommonParameters::default(),
            algorithm,
        }
        .thumbprint(jwt::ThumbprintHash::SHA256)
        .map_err(|_| "key_rejected")
    }
}

impl Curve {
    fn coordinate_length(self) -> usize {
        match self {
            Self::P256 => 32,
            Self::P384 => 48,
        }
    }

    fn algorithm(self) -> Algorithm {
        match self {
            Self::P256 => Algorithm::ES256,
            Self::P384 => Algorithm::ES384,
        }
    }
}

/// `use` and `key_ops` (RFC 7517 §4.2, §4.3). A public signature key is for `verify`; `sign` beside
/// it is the same purpose, and anything else is another one, which is refused with or without `use`.
fn check_purpose(jwk: &Object) -> Result<(), &'static str> {
    match jwk.get("use") {
        None => {}
        Some(Value::String(purpose)) if purpose == "sig" => {}
        Some(_) => return Err("use_not_sig"),
    }
    let Some(operations) = jwk.get("key_ops") else {
        return Ok(());
    };
    let operations = operations
        .as_array()
        .and_then(|operations| {
            operations
                .iter()
                .map(Value::as_str)
                .collect::<Option<Vec<_>>>()
        })
        .ok_or("key_ops_malformed")?;
    let mut distinct = operations.clone();
    distinct.sort_unstable();
    distinct.dedup();
    if distinct.len() != operations.len() {
        return Err("key_ops_malformed");
    }
    let only_signatures = operations
        .iter()
        .all(|operation| matches!(*operation, "sign" | "verify"));
    if only_signatures && operations.contains(&"verify") {
        Ok(())
    } else {
        Err("key_ops_not_verify")
    }
}

/// The one algorithm of the key.
fn bind(
    jwk: &Object,
    material: &Material,
    allowed: &[Algorithm],
) -> Result<Algorithm, &'static str> {
    let algorithm = match jwk.get("alg") {
        Some(Value::String(name)) => name.parse().map_err(|_| "alg_unsupported")?,
        Some(_) => return Err("alg_malformed"),
        None => match material {
            Material::Ec { curve, .. } => curve.algorithm(),
            Material::Ed25519 { .. } => Algorithm::EdDSA,
            Material::Rsa { .. } => only_rsa_algorithm(allowed)?,
        },
    };
    if !material.fits(algorithm) {
        return Err("alg_mismatch");
    }
    if !allowed.is_empty() && !allowed.contains(&algorithm) {
        return Err("alg_not_allowed");
    }
    Ok(algorithm)
}

fn only_rsa_algorithm(allowed: &[Algorithm]) -> Result<Algorithm, &'static str> {
    if allowed.is_empty() {
        return Ok(Algorithm::RS256);
    }
    let mut rsa = allowed
        .iter()
        .copied()
        .filter(|algorithm| algorithm.is_rsa());
    let first = rsa.next().ok_or("alg_not_allowed")?;
    if rsa.any(|other| other != first) {
        return Err("alg_ambiguous");
    }
    Ok(first)
}

fn rsa_parameters(algorithm: Algorithm) -> Option<&'static RsaParameters> {
    match algorithm {
        Algorithm::RS256 => Some(&crypto::RSA_PKCS1_2048_8192_SHA256),
        Algorithm::RS384 => Some(&crypto::RSA_PKCS1_2048_8192_SHA384),
        Algorithm::RS512 => Some(&crypto::RSA_PKCS1_2048_8192_SHA512),
        Algorithm::PS256 => Some(&crypto::RSA_PSS_2048_8192_SHA256),
        Algorithm::PS384 => Some(&crypto::RSA_PSS_2048_8192_SHA384),
        Algorithm::PS512 => Some(&crypto::RSA_PSS_2048_8192_SHA512),
        Algorithm::ES256 | Algorithm::ES384 | Algorithm::EdDSA => None,
    }
}

/// 2048 to 8192 bits (RFC 7518 §3.3; more is a way to make us work), odd, no leading zero octet
/// (RFC 7518 §6.3.1.1), and not of the ROCA kind.
fn check_modulus(modulus: &[u8]) -> Result<(), &'static str> {
    let (Some(first), Some(last)) = (modulus.first(), modulus.last()) else {
        return Err("modulus_malformed");
    };
    if *first == 0 || last % 2 == 0 {
        return Err("modulus_malformed");
    }
    let bits = modulus.len() * 8 - first.leading_zeros() as usize;
    match bits {
        ..2048 => Err("modulus_too_small"),
        8193.. => Err("modulus_too_large"),
        _ if roca::is_affected(modulus) => Err("modulus_roca"),
        _ => Ok(()),
    }
}

/// Odd, at least 65537 and at most 33 bits. FIPS 186-5 §A.1.1 asks for more than 2¹⁶, small exponents
/// are what every forgery by sloppy padding needed, no identity provider of note publishes another
/// than 65537, and the verifier refuses more than 33 bits.
fn check_exponent(exponent: &[u8]) -> Result<(), &'static str> {
    let value = exponent
        .iter()
        .try_fold(0_u64, |value, byte| {
            value.checked_mul(256).map(|value| value + u64::from(*byte))
        })
        .ok_or("exponent_unsafe")?;
    let canonical = exponent.first().is_some_and(|first| *first != 0);
    if canonical && value % 2 == 1 && (65_537..1 << 33).contains(&value) {
        Ok(())
    } else {
        Err("exponent_unsafe")
    }
}

fn string<'a>(jwk: &'a Object, member: &str) -> Result<&'a str, &'static str> {
    jwk.get(member)
        .and_then(Value::as_str)
        .ok_or("member_missing")
}

fn octets(jwk: &Object, member: &str, length: usize) -> Result<String, &'static str> {
    let text = string(jwk, member)?;
    if decode(text)?.len() == length {
        Ok(text.to_owned())
    } else {
        Err("length_wrong")
    }
}

fn decode(text: &str) -> Result<Vec<u8>, &'static str> {
    base64url::decode(text).map_err(|_| "base64_invalid")
}

#[cfg(test)]
mod tests;
