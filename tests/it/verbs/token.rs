//! `cambist token inspect`.

use std::fs;
use std::path::Path;

use cambist::clock::Clock;
use cambist::jose::{Algorithm, SigningKey};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{Idp, cambist, cambist_reads, with, without};

const ISSUER: &str = "https://idp.example.com";

/// A realm with an issuer whose keys lie here, one whose keys are fetched, and our own in a file.
fn realm(idp: &Idp, own: &str) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| fs::write(dir.path().join(name), text).unwrap();
    write("idp.json", &idp.jwks());
    write("as.pem", own);
    write(
        "main.policy",
        "policy 1 module main\nrule r { from idp by client \"rs08\" to audience \"x\"\nuse mint { scope: [] } }\n",
    );
    write(
        "cambist.yaml",
        r#"
issuer: https://as.example.com
keys: [ { file: as.pem } ]
issuers:
  idp: { issuer: https://idp.example.com, jwks_file: idp.json, audience: client, scope: none, subjects: local }
  far: { issuer: https://far.example.com, jwks_uri: https://far.example.com/keys, audience: client, scope: none }
clients:
  rs08: { auth: { client_secret_basic: { secret_sha256: "sha256:XnHNtf3KpOeX0YZPj1WTCg:a_aTD8TXePldgb0ZgPpMUeQKI2P6j9uT4kDbdwlQl4E" } } }
  other: { auth: { client_secret_basic: { secret_sha256: "sha256:XnHNtf3KpOeX0YZPj1WTCg:a_aTD8TXePldgb0ZgPpMUeQKI2P6j9uT4kDbdwlQl4E" } } }
processors: { mint: { provider: mint, lifetime: 60s } }
policies: [main.policy]
"#,
    );
    dir
}

fn now() -> i64 {
    Clock::system().now().0
}

/// The claims of a token that is good now.
fn good() -> Value {
    json!({ "sub": "alice", "aud": "rs08", "iat": now() - 10, "exp": now() + 3590 })
}

fn inspect(dir: &Path, arguments: &[&str], token: &str) -> (i32, String, String) {
    let all: Vec<&str> = ["token", "inspect"]
        .into_iter()
        .chain(arguments.iter().copied())
        .collect();
    let answer = cambist_reads(dir, &all, token);
    let (signature, shown) = (token.rsplit('.').next().unwrap(), &answer);
    // Neither the token nor what would make another one of it.
    for part in [token, signature] {
        let part = part.trim();
        assert!(
            part.len() < 20 || !shown.1.contains(part) && !shown.2.contains(part),
            "{shown:?}"
        );
    }
    answer
}

fn pem() -> String {
    SigningKey::generate_pem(Algorithm::ES256)
        .unwrap()
        .to_string()
}

#[test]
fn a_good_token_is_verified_and_taken() {
    let idp = Idp::new(ISSUER, Algorithm::ES256);
    let dir = realm(&idp, &pem());
    let token = idp.token(&good());
    for input in [token.clone(), format!(" Bearer {token}\n")] {
        let (code, shown, _) = inspect(dir.path(), &["--dir", "."], &input);
        assert_eq!(code, 0, "{shown}");
        let verified = format!(
            "verified with key \"{}\" of issuer `idp` (./cambist.yaml)\n",
            idp.key.kid()
        );
        assert!(shown.starts_with(&verified), "{shown}");
        assert!(
            shown.contains("as access_token: takes it from rs08\n"),
            "{shown}"
        );
        assert!(shown.contains("  sub  \"alice\"\n"), "{shown}");
        assert!(shown.contains("Z, expires in 59m 5"), "{shown}");
    }
    let (code, shown, errors) = cambist(dir.path(), &["token", "inspect", "--dir", ".", &token]);
    assert_eq!(code, 0, "{shown}");
    assert!(
        errors.contains("shell's history") && !errors.contains(&token),
        "{errors}"
    );
    // As it stands, from a file of keys.
    let (code, shown, _) = inspect(dir.path(), &["--jwks", "idp.json"], &token);
    assert_eq!(code, 0, "{shown}");
    assert!(shown.contains("of idp.json\n"), "{shown}");
}

#[test]
fn what_nothing_vouches_for_is_called_so_with_the_reason() {
    let idp = Idp::new(ISSUER, Algorithm::ES256);
    let dir = realm(&idp, &pem());
    let write = |name: &str, idp: &Idp| fs::write(dir.path().join(name), idp.jwks()).unwrap();
    let stranger = Idp::new(ISSUER, Algorithm::ES256);
    let far = Idp::new("https://far.example.com", Algorithm::ES256);
    write("stranger.json", &stranger);
    write("far.json", &far);
    let token = idp.token(&good());
    let (input, signature) = token.rsplit_once('.').unwrap();
    let forged = idp.token(&with(&good(), &json!({ "sub": "mallory" })));
    let forged = format!("{}.{signature}", forged.rsplit_once('.').unwrap().0);
    let unsigned = |header: &str| idp.raw(header, &idp.payload(&good()));
    for (arguments, token, says) in [
        (&[][..], token.clone(), "no key was given"),
        (
            &["--jwks", "stranger.json"],
            token.clone(),
            "no key of the issuer has this `kid`",
        ),
        (&["--dir", "."], forged, "the signature does not verify"),
        (
            &["--dir", "."],
            far.token(&good()),
            "the keys of issuer `far` are fetched",
        ),
        (
            &["--dir", "."],
            Idp::new("https://nobody.example.com", Algorithm::ES256).token(&good()),
            "the token's issuer is not known here",
        ),
        (
            &["--dir", "."],
            unsigned(r#"{"alg":"none"}"#),
            "`alg` is `none`",
        ),
        (
            &["--dir", "."],
            unsigned(r#"{"alg":"ES256","crit":["x"],"x":1}"#),
            "`crit` names",
        ),
        (
            &["--dir", "."],
            format!("{input}."),
            "the token has no signature",
        ),
    ] {
        let (code, shown, _) = inspect(dir.path(), arguments, &token);
        assert_eq!(code, 1, "{says}: {shown}");
        let expected = format!("DECODED, NOT VERIFIED: {says}");
        assert!(shown.starts_with(&expected), "{expected}\n{shown}");
        assert!(
            shown.contains("\nclaims\n") && shown.contains("\nheader\n"),
            "{shown}"
        );
    }
    // Downloaded, they do as well as fetched.
    let (code, shown, _) = inspect(
        dir.path(),
        &["--dir", ".", "--jwks", "far.json"],
        &far.token(&good()),
    );
    assert_eq!(code, 0, "{shown}");
    assert!(shown.contains("of issuer `far` (far.json)"), "{shown}");
}

#[test]
fn everything_that_the_gateway_has_against_it_is_said() {
    let idp = Idp::new(ISSUER, Algorithm::ES256);
    let dir = realm(&idp, &pem());
    let reasons = |arguments: &[&str], token: &str| {
        let arguments = [&["--dir", ".", "--json"], arguments].concat();
        let (code, shown, errors) = inspect(dir.path(), &arguments, token);
        let report: Value = serde_json::from_str(&shown).unwrap_or_else(|_| panic!("{errors}"));
        assert_eq!(
            code,
            if report["good"] == true { 0 } else { 1 },
            "{report:#}"
        );
        let verdicts = report["gateway"].as_array().unwrap().clone();
        let of = |verdict: &Value| {
            let list = verdict["objections"].as_array().unwrap().clone();
            let list = list
                .iter()
                .map(|o| o["reason"].as_str().unwrap().to_owned());
            (
                verdict["as"].as_str().unwrap().to_owned(),
                list.collect::<Vec<_>>(),
            )
        };
        verdicts.iter().map(of).collect::<Vec<_>>()
    };
    let old = json!({ "exp": now() - 180, "iat": now() - 400, "aud": "somebody" });
    for (arguments, token, expected) in [
        (&[][..], idp.token(&good()), &[][..]),
        (&["--client", "rs08"], idp.token(&good()), &[]),
        (
            &["--client", "other"],
            idp.token(&good()),
            &["audience_wrong"],
        ),
        (
            &[],
            idp.token(&with(&good(), &old)),
            &["token_expired", "audience_wrong"],
        ),
        (
            &[],
            idp.token(&with(&good(), &json!({ "nbf": now() + 900 }))),
            &["token_not_yet_valid"],
        ),
        (
            &[],
            idp.token(&with(&good(), &json!({ "cnf": { "jkt": "x" } }))),
            &["token_has_cnf"],
        ),
        (&[], idp.token(&without(&good(), "sub")), &["claim_invalid"]),
        (&[], idp.typed("logout+jwt", &good()), &["typ_wrong"]),
        (
            &["--as", "id_token"],
            idp.token(&good()),
            &["token_type_not_accepted"],
        ),
    ] {
        for (of, found) in reasons(arguments, &token) {
            assert_eq!(found, expected, "{of}");
        }
    }
    let (code, shown, _) = inspect(dir.path(), &[], &idp.token(&with(&good(), &old)));
    assert_eq!(code, 1);
    assert!(
        shown.contains("not good now: the token has expired\n"),
        "{shown}"
    );
    assert!(shown.contains("expired 3m"), "{shown}");
}

/// Our own tokens are as good as any other issuer's.
#[test]
fn our_own_keys_are_at_hand() {
    let own = pem();
    let dir = realm(&Idp::new(ISSUER, Algorithm::ES256), &own);
    let key = SigningKey::from_pem(own.as_bytes()).unwrap();
    let claims = with(
        &good(),
        &json!({ "iss": "https://as.example.com", "client_id": "rs08" }),
    );
    let token = key.compact("at+jwt", &claims).unwrap();
    let (code, shown, _) = inspect(dir.path(), &["--dir", "."], &token);
    assert_eq!(code, 0, "{shown}");
    assert!(shown.contains("of issuer `self`"), "{shown}");
}

#[test]
fn what_is_no_jws_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let jwe =
        "eyJhbGciOiJkaXIiLCJlbmMiOiJBMjU2R0NNIn0..AAAAAAAAAAAAAAAA.AAAA.AAAAAAAAAAAAAAAAAAAAAA";
    let (code, shown, _) = inspect(dir.path(), &[], jwe);
    assert_eq!(code, 1);
    assert!(
        shown.starts_with("ENCRYPTED: ") && shown.contains("\"A256GCM\""),
        "{shown}"
    );
    let (code, shown, _) = inspect(dir.path(), &["-"], "an-opaque-token-of-some-length\n");
    assert_eq!(code, 1);
    assert!(shown.starts_with("OPAQUE: "), "{shown}");
    for nothing in ["", " \n", "two words", "é"] {
        let (code, shown, errors) = inspect(dir.path(), &[], nothing);
        assert_eq!((code, shown.as_str()), (2, ""), "{nothing:?}");
        assert!(errors.starts_with("error: this is no token\n"), "{errors}");
    }
    let (code, _, errors) = inspect(dir.path(), &["--dir", "nowhere"], "x");
    assert_eq!(code, 2, "{errors}");
    let (code, _, errors) = inspect(dir.path(), &["--jwks", "nowhere"], "x");
    assert_eq!(code, 2);
    assert!(errors.contains("cannot read `nowhere`"), "{errors}");
}

#[test]
fn a_claim_moves_no_cursor() {
    let dir = tempfile::tempdir().unwrap();
    let idp = Idp::new(ISSUER, Algorithm::ES256);
    let token = idp.token(&json!({ "sub": "a\u{1b}[2J\u{9b}x", "x\n\u{1b}y": 1 }));
    for arguments in [&[][..], &["--json"]] {
        let (code, shown, _) = inspect(dir.path(), arguments, &token);
        assert_eq!(code, 1);
        let bad = |c: char| c.is_control() && c != '\n';
        assert!(!shown.contains(bad) && !shown.contains("x\n"), "{shown:?}");
    }
}
