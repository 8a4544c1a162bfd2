//! Making, reading and publishing our keys.

use std::sync::Arc;

use super::*;
use crate::jose::{Compact, JwsError, SigningKeys};

fn key_for(algorithm: Algorithm) -> (Arc<SigningKey>, SigningKeys) {
    let key = Arc::new(SigningKey::generate(algorithm).unwrap());
    (
        Arc::clone(&key),
        SigningKeys::new(vec![Arc::clone(&key)]).unwrap(),
    )
}

#[test]
fn every_algorithm_signs_what_its_public_key_verifies() {
    for algorithm in Algorithm::ALL {
        let (key, keys) = key_for(algorithm);
        let claims = json!({"iss": "https://sts.example", "n": 1});
        let token = key.compact("at+jwt", &claims).unwrap();
        let parsed = Compact::parse(&token).unwrap();
        assert_eq!(parsed.header().alg, algorithm);
        assert_eq!(parsed.header().kid.as_deref(), Some(key.kid()));
        assert_eq!(parsed.header().typ.as_deref(), Some("at+jwt"));
        let verified = parsed.verify(&keys.verifier()).unwrap();
        assert_eq!(Value::Object(verified), claims);
        let (other, _) = key_for(algorithm);
        let stranger = other.compact("at+jwt", &claims).unwrap();
        assert_eq!(
            Compact::parse(&stranger).unwrap().verify(&keys.verifier()),
            Err(JwsError::KidUnknown)
        );
    }
}

#[test]
fn a_key_survives_its_pem_text() {
    for algorithm in Algorithm::ALL {
        let pem = SigningKey::generate_pem(algorithm).unwrap();
        let read = || SigningKey::from_pem(pem.as_bytes()).unwrap();
        let key = read().for_algorithm(algorithm).unwrap();
        let again = read().for_algorithm(algorithm).unwrap();
        assert_eq!(key.algorithm(), algorithm);
        assert_eq!(key.public_jwk(), again.public_jwk());
        assert_eq!(key.kid().len(), 43);
    }
}

#[test]
fn a_key_is_for_the_algorithms_of_its_type_only() {
    for (of, fits) in [
        (Algorithm::ES256, 1),
        (Algorithm::ES384, 1),
        (Algorithm::EdDSA, 1),
        (Algorithm::RS256, 6),
    ] {
        let pem = SigningKey::generate_pem(of).unwrap();
        let taken = Algorithm::ALL.into_iter().filter(|algorithm| {
            let key = SigningKey::from_pem(pem.as_bytes()).unwrap();
            match key.for_algorithm(*algorithm) {
                Ok(key) => key.algorithm() == *algorithm,
                Err(error) => {
                    assert_eq!(error, KeyError::OtherType(*algorithm));
                    false
                }
            }
        });
        assert_eq!(taken.count(), fits, "{of}");
    }
}

#[test]
fn a_key_of_another_kind_is_refused() {
    let mut der = vec![0x30, 0x2e, 0x02, 0x01, 0x00];
    assert_eq!(
        SigningKey::from_pem(pem::encode(&der).as_bytes()).unwrap_err(),
        KeyError::NotSupported
    );
    // X25519 (1.3.101.110): a fine key, not one to sign with.
    der.extend([
        0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x6e, 0x04, 0x22, 0x04, 0x20,
    ]);
    der.extend([7; 32]);
    assert_eq!(
        SigningKey::from_pem(pem::encode(&der).as_bytes()).unwrap_err(),
        KeyError::NotSupported
    );
}

#[test]
fn the_conversion_command_is_in_the_message() {
    assert!(KeyError::Sec1.to_string().contains("openssl pkcs8 -topk8"));
    assert!(KeyError::Pkcs1.to_string().contains("openssl pkcs8 -topk8"));
}

#[test]
fn nothing_private_is_published_or_shown() {
    let ours = Algorithm::ALL.map(|algorithm| key_for(algorithm).0);
    let keys = SigningKeys::new(ours.to_vec()).unwrap();
    let jwks = keys.jwks();
    let published = jwks["keys"].as_array().unwrap();
    assert_eq!(published.len(), ours.len());
    for (jwk, key) in published.iter().zip(ours) {
        let members: Vec<&str> = jwk
            .as_object()
            .unwrap()
            .keys()
            .map(String::as_str)
            .collect();
        let expected: &[&str] = match jwk["kty"].as_str().unwrap() {
            "EC" => &["alg", "crv", "kid", "kty", "use", "x", "y"],
            "OKP" => &["alg", "crv", "kid", "kty", "use", "x"],
            _ => &["alg", "e", "kid", "kty", "n", "use"],
        };
        assert_eq!(members, expected);
        assert_eq!(jwk["kid"], key.kid());
        assert_eq!(
            format!("{key:?}"),
            format!(
                "SigningKey {{ kid: {:?}, algorithm: {:?}, .. }}",
                key.kid(),
                key.algorithm()
            )
        );
    }
}

#[test]
fn the_example_key_of_rfc_8037() {
    let seed = base64url::decode("nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A").unwrap();
    let mut der = vec![0x30, 0x2e, 0x02, 0x01, 0x00];
    der.extend([
        0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20,
    ]);
    der.extend(seed);
    let key = SigningKey::from_pem(pem::encode(&der).as_bytes()).unwrap();
    // Appendix A.2, A.3, A.4.
    assert_eq!(
        key.public_jwk()["x"],
        "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"
    );
    assert_eq!(key.kid(), "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
    let signature = key
        .sign(b"eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc")
        .unwrap();
    assert_eq!(
        base64url::encode(signature),
        "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg"
    );
}

/// Made by `openssl genpkey` for this test, and too small to be of use to anyone.
const RSA_1024: &str = "\
-----BEGIN PRIVATE KEY-----
MIICdgIBADANBgkqhkiG9w0BAQEFAASCAmAwggJcAgEAAoGBANyfclqXklsGOUsr
NTOY9rN/sunA+KVH221CHv31g/EVrCJGf2DNU1yHZzp0kn6pSr7TM+0O+ewgz0jm
Wvafrd7DGG//PGeVOiKhGOS8ZE/vu3CxsNoxZQ5U5FVnQh7fC/UE2gQld1RzImGb
YgFj9a+ZK6eBH4k2brtussy38bJtAgMBAAECgYB3yhtNFP9ibP6u0ccRPPy2eZ+r
TBu1ok6CBGTPf38kZ6AO/DgtV07r7pkeJC1mmIT9F7AaBwesLiRecLTzM8AzMVpQ
A4K1UNanRLVhF7HW4YPexJlqA/DbrhsyuQiFsw6iI8bPzv0Pgo155zwZ+5zD7x6l
K4aNOndjeK65tUH0AQJBAPlnReUAtfpFRN+qM7domtTOPrNWeyXhVIXDicQivL6A
vkjAHWHZnV3MuNzCTrVUgpuzqc6kv1W5ZujeDTw9xd8CQQDidUxrmErJ1Z0ZKzJO
hB7dfyZr/fMXwLxZUr8PW7V/PxcQEMg4A0BLdP53VC2tUJp8wm9ZwyDkW8qCBEU1
v5kzAkAJyqku1XlPixqqIVeIct3pTvOdPN723MLhwYyOG8MHQ6y01H4S0mVgQmJb
oHFQozHBhSs8hrFQX0gQCm/AlrhHAkEA2En0HWetNqzhiOJq//bMi/0fM1GvVmZs
/ls7xG1xIgGeA2gj8uuYAvnQ+SPbJIexpasHMxJdXf4Voqx1depzZQJANJgFSty1
uHIWL+oZfPm23ZVBt2iR69eCsTu9+GA/170nrwWZtbl3tgrnl2b7VqgAW/7zMflt
t//G8pCm7A1OrQ==
-----END PRIVATE KEY-----
";

#[test]
fn a_small_rsa_key_is_named_as_such() {
    assert_eq!(
        SigningKey::from_pem(RSA_1024.as_bytes()).unwrap_err(),
        KeyError::RsaTooSmall
    );
}
