//! Several realms: chosen by path or host, apart from each other, each with its own last good state.

use std::fs;

use cambist::reload::{ReloadOutcome, reload};
use serde_json::json;
use tempfile::TempDir;

use super::{admin, get, idp, secret, start, status, subject_token, trade, try_start, write_realm};
use crate::support::Idp;

const ROOT: &str = "server: { listen: 127.0.0.1:0 }\nadmin: { listen: 127.0.0.1:0 }\n\
                    providers: { mint: { lifetime: 77s } }\nrealms: { corp: corp, partner: realms/partner }\n";

/// Two realms below one host.
fn by_path() -> (TempDir, Idp) {
    let idp = idp();
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("cambist.yaml"), ROOT).unwrap();
    for (name, at) in [("corp", "corp"), ("partner", "realms/partner")] {
        let issuer = format!("https://as.example.com/{name}");
        write_realm(&dir.path().join(at), &issuer, "", &secret(name), &idp);
    }
    (dir, idp)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_realm_is_chosen_by_path_and_knows_nothing_of_the_others() {
    let (dir, idp) = by_path();
    let running = start(dir.path()).await;
    let token = subject_token(&idp);
    let (corp, partner) = (secret("corp"), secret("partner"));
    let host = "as.example.com";
    let issued = trade(&running, host, "/corp/token", &corp, &token).await;
    assert_eq!(issued.status, 200, "{issued:?}");
    // Defaults of providers are the root's.
    assert_eq!(issued.json()["expires_in"], 77);
    let of_corp = issued.token();
    assert_eq!(
        trade(&running, host, "/partner/token", &partner, &token)
            .await
            .status,
        200
    );
    // Neither its clients nor its tokens are another's.
    assert_eq!(
        trade(&running, host, "/partner/token", &corp, &token)
            .await
            .status,
        401
    );
    let foreign = trade(&running, host, "/partner/token", &partner, &of_corp).await;
    assert_eq!(
        (foreign.status, foreign.error().as_str()),
        (400, "invalid_request")
    );
    assert_eq!(
        trade(&running, host, "/corp/token", &corp, &of_corp)
            .await
            .status,
        400,
        "its audience is the backend"
    );
    // Each has its own keys and metadata, and nothing is anywhere else.
    let keys = get(&running, host, "/corp/jwks").await.body;
    assert_ne!(keys, get(&running, host, "/partner/jwks").await.body);
    let metadata = get(
        &running,
        host,
        "/.well-known/oauth-authorization-server/partner",
    )
    .await;
    assert_eq!(metadata.json()["issuer"], "https://as.example.com/partner");
    for nowhere in ["/token", "/jwks", "/other/token", "/corp", "/corp/token/"] {
        assert_eq!(get(&running, host, nowhere).await.status, 404, "{nowhere}");
    }
    let metrics = admin(&running, "GET", "/metrics", "").await.body;
    for (series, count) in [
        (
            r#"{outcome="issued",processor="mint",realm="corp",reason=""}"#,
            1,
        ),
        (
            r#"{outcome="issued",processor="mint",realm="partner",reason=""}"#,
            1,
        ),
        (
            r#"{outcome="refused",processor="",realm="partner",reason="client_auth_failed"}"#,
            1,
        ),
    ] {
        let line = format!("cambist_exchanges_total{series} {count}\n");
        assert!(metrics.contains(&line), "{line}{metrics}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_realm_is_chosen_by_host_where_paths_are_the_same() {
    let idp = idp();
    let dir = tempfile::tempdir().unwrap();
    let root = ROOT.replace("realms/partner", "partner");
    fs::write(dir.path().join("cambist.yaml"), root).unwrap();
    for (name, host) in [("corp", "as.example.com"), ("partner", "as.example.org")] {
        let hosts = format!("hosts: [{host}]\n");
        write_realm(
            &dir.path().join(name),
            &format!("https://{host}"),
            &hosts,
            &secret(name),
            &idp,
        );
    }
    let running = start(dir.path()).await;
    let issuer = async |host: &str| {
        let answer = get(&running, host, "/.well-known/oauth-authorization-server").await;
        match answer.status {
            200 => answer.json()["issuer"].as_str().unwrap().to_owned(),
            other => other.to_string(),
        }
    };
    for (host, answers) in [
        ("as.example.com", "https://as.example.com"),
        ("AS.Example.COM:8443", "https://as.example.com"),
        ("as.example.org", "https://as.example.org"),
        ("as.example.net", "404"),
        ("as.example.com.", "404"),
        ("as.example.com, as.example.org", "400"),
        ("as.example.com\r\nHost: as.example.org", "400"),
        ("evil@as.example.com", "400"),
        ("as.example.com:", "https://as.example.com"),
        ("as.example.com:99999", "400"),
        ("as.example.com:x", "400"),
        ("[::1", "400"),
    ] {
        assert_eq!(issuer(host).await, answers, "{host}");
    }
    // An absolute request target goes before `Host` (RFC 9112 section 3.2.2).
    let target = "http://as.example.org/.well-known/oauth-authorization-server";
    let absolute = get(&running, "as.example.com", target).await;
    assert_eq!(absolute.json()["issuer"], "https://as.example.org");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_realm_keeps_what_it_had_and_blocks_nobody() {
    let (dir, idp) = by_path();
    let running = start(dir.path()).await;
    let gateway = &running.gateway;
    let (corp, partner) = (dir.path().join("corp"), dir.path().join("realms/partner"));
    let good = fs::read_to_string(partner.join("main.policy")).unwrap();
    let keys_before = get(&running, "x", "/corp/jwks").await.body;
    fs::write(partner.join("main.policy"), "policy 1 module main\nrule {").unwrap();
    let changed = good.replace("rule trade", "rule renamed");
    fs::write(corp.join("main.policy"), &changed).unwrap();
    match reload(gateway, dir.path()) {
        ReloadOutcome::Applied(_, Some(rejected)) => {
            assert_eq!(
                rejected
                    .realms
                    .iter()
                    .map(|name| name.as_str())
                    .collect::<Vec<_>>(),
                ["partner"]
            );
        }
        other => panic!("{}", other.name()),
    }
    let token = subject_token(&idp);
    for name in ["corp", "partner"] {
        let answer = trade(
            &running,
            "x",
            &format!("/{name}/token"),
            &secret(name),
            &token,
        )
        .await;
        assert_eq!(answer.status, 200, "{name}");
    }
    assert_eq!(
        get(&running, "x", "/corp/jwks").await.body,
        keys_before,
        "keys outlive it"
    );
    let live = gateway.live.load();
    assert!(
        live.realm(Some("corp"))
            .unwrap()
            .items
            .contains_key("main.renamed")
    );
    assert!(
        live.realm(Some("partner"))
            .unwrap()
            .items
            .contains_key("main.trade")
    );

    // Everybody is told so.
    let said = status(&running).await;
    assert_eq!(said["realms"]["partner"]["in_step"], false);
    assert_eq!(said["realms"]["corp"]["in_step"], true);
    assert_eq!(said["last_reload"]["result"], "applied");
    let findings = said["last_reload"]["details"].as_array().unwrap();
    let error = findings.iter().find(|one| one["severity"] == "error");
    let file = error.unwrap()["at"]["file"].as_str().unwrap();
    assert!(file.ends_with("realms/partner/main.policy"), "{findings:?}");
    let ready = admin(&running, "GET", "/readyz?verbose", "").await;
    assert_eq!(ready.status, 200, "{}", ready.body);
    assert!(
        ready
            .body
            .contains("[-] realm partner: what is on disk was rejected"),
        "{}",
        ready.body
    );
    let metrics = async || admin(&running, "GET", "/metrics", "").await.body;
    let at = metrics().await;
    for line in [
        "cambist_config_last_reload_successful 0\n",
        "cambist_realm_last_reload_successful{realm=\"corp\"} 1\n",
        "cambist_realm_last_reload_successful{realm=\"partner\"} 0\n",
    ] {
        assert!(at.contains(line), "{line}");
    }
    // Found again, it is rejected again, and nothing else moves.
    let hash = gateway.live.load().hash.clone();
    assert_eq!(reload(gateway, dir.path()).name(), "rejected");
    assert_eq!(gateway.live.load().hash, hash);

    // Back to what runs, everything is good again.
    fs::write(partner.join("main.policy"), &good).unwrap();
    assert_eq!(reload(gateway, dir.path()).name(), "unchanged");
    assert_eq!(status(&running).await["realms"]["partner"]["in_step"], true);
    assert!(
        metrics()
            .await
            .contains("cambist_config_last_reload_successful 1\n")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_realm_that_cannot_be_loaded_at_the_start_is_left_out_and_comes_when_it_can() {
    let (dir, idp) = by_path();
    let file = dir.path().join("realms/partner/cambist.yaml");
    let good = fs::read_to_string(&file).unwrap();
    fs::write(&file, good.replace("policies:", "polices:")).unwrap();
    let running = start(dir.path()).await;
    let rejected = running.rejected.as_ref().unwrap();
    assert_eq!(rejected.realms[0].as_str(), "partner");
    let token = subject_token(&idp);
    assert_eq!(
        trade(&running, "x", "/corp/token", &secret("corp"), &token)
            .await
            .status,
        200
    );
    assert_eq!(
        trade(&running, "x", "/partner/token", &secret("partner"), &token)
            .await
            .status,
        404
    );
    let said = status(&running).await;
    assert_eq!(said["realms_not_loaded"], json!(["partner"]));
    assert_eq!(said["last_reload"]["details"][0]["code"], "E1005");
    let metrics = admin(&running, "GET", "/metrics", "").await.body;
    assert!(
        metrics.contains("cambist_realm_loaded{realm=\"partner\"} 0\n"),
        "{metrics}"
    );
    let ready = admin(&running, "GET", "/readyz?verbose", "").await;
    assert_eq!(ready.status, 200);
    assert!(
        ready.body.contains("[-] realm partner: not loaded"),
        "{}",
        ready.body
    );
    fs::write(&file, &good).unwrap();
    assert_eq!(reload(&running.gateway, dir.path()).name(), "applied");
    assert_eq!(
        trade(&running, "x", "/partner/token", &secret("partner"), &token)
            .await
            .status,
        200
    );
    assert_eq!(status(&running).await["realms_not_loaded"], json!([]));
    // A realm that is taken off the list is gone.
    let root = dir.path().join("cambist.yaml");
    let one = fs::read_to_string(&root)
        .unwrap()
        .replace(", partner: realms/partner", "");
    fs::write(&root, one).unwrap();
    assert_eq!(reload(&running.gateway, dir.path()).name(), "applied");
    assert_eq!(get(&running, "x", "/partner/jwks").await.status, 404);
    let metrics = admin(&running, "GET", "/metrics", "").await.body;
    assert!(!metrics.contains("realm=\"partner\""), "{metrics}");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_any_realm_nothing_starts() {
    let (dir, _) = by_path();
    for at in ["corp", "realms/partner"] {
        fs::write(
            dir.path().join(at).join("main.policy"),
            "policy 2 module main\n",
        )
        .unwrap();
    }
    assert!(try_start(dir.path()).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_realm_that_becomes_like_another_is_the_one_that_is_rejected() {
    let (dir, idp) = by_path();
    let running = start(dir.path()).await;
    let file = dir.path().join("realms/partner/cambist.yaml");
    let good = fs::read_to_string(&file).unwrap();
    // It reaches for the token endpoint of the other one.
    fs::write(&file, format!("token_path: /corp/token\n{good}")).unwrap();
    match reload(&running.gateway, dir.path()) {
        ReloadOutcome::Rejected(rejected) => {
            assert_eq!(rejected.realms.len(), 1);
            assert_eq!(rejected.realms[0].as_str(), "partner");
            let found = rejected.error.diagnostics.sorted();
            assert_eq!((found.len(), found[0].code), (1, "E1020"));
        }
        other => panic!("{}", other.name()),
    }
    let token = subject_token(&idp);
    for name in ["corp", "partner"] {
        let answer = trade(
            &running,
            "x",
            &format!("/{name}/token"),
            &secret(name),
            &token,
        )
        .await;
        assert_eq!(answer.status, 200, "{name}");
    }
}

/// Hosts keep realms apart also while one of them is rejected.
#[tokio::test(flavor = "multi_thread")]
async fn the_way_to_a_realm_that_runs_is_not_given_away() {
    let (dir, _) = by_path();
    let running = start(dir.path()).await;
    // `partner` moves away, but cannot be loaded; `corp` would like to have its place.
    let (corp, partner) = (
        dir.path().join("corp/cambist.yaml"),
        dir.path().join("realms/partner/cambist.yaml"),
    );
    let text = fs::read_to_string(&partner).unwrap();
    fs::write(
        &partner,
        text.replace("/partner\n", "/moved\n")
            .replace("policies:", "polices:"),
    )
    .unwrap();
    let text = fs::read_to_string(&corp).unwrap();
    fs::write(&corp, text.replace("/corp\n", "/partner\n")).unwrap();
    assert_eq!(reload(&running.gateway, dir.path()).name(), "rejected");
    for (path, issuer) in [
        ("/corp", "https://as.example.com/corp"),
        ("/partner", "https://as.example.com/partner"),
    ] {
        let path = format!("/.well-known/oauth-authorization-server{path}");
        assert_eq!(get(&running, "x", &path).await.json()["issuer"], issuer);
    }
    // As soon as it can move, both do.
    let text = fs::read_to_string(&partner).unwrap();
    fs::write(&partner, text.replace("polices:", "policies:")).unwrap();
    assert_eq!(reload(&running.gateway, dir.path()).name(), "applied");
    let path = "/.well-known/oauth-authorization-server/moved";
    assert_eq!(
        get(&running, "x", path).await.json()["issuer"],
        "https://as.example.com/moved"
    );
}

/// What a realm is made of is more than its own files: one that was rejected, and comes back as it was, is under
/// the root as it is now.
#[tokio::test(flavor = "multi_thread")]
async fn a_realm_that_was_kept_follows_the_root_when_it_can() {
    let (dir, idp) = by_path();
    let running = start(dir.path()).await;
    let lifetime = async |realm: &str| {
        let path = format!("/{realm}/token");
        let answer = trade(&running, "x", &path, &secret(realm), &subject_token(&idp)).await;
        answer.json()["expires_in"].as_i64().unwrap()
    };
    let before = running
        .gateway
        .live
        .load()
        .realm(Some("corp"))
        .unwrap()
        .hash
        .clone();
    let (root, corp) = (
        dir.path().join("cambist.yaml"),
        dir.path().join("corp/main.policy"),
    );
    let good = fs::read_to_string(&corp).unwrap();
    fs::write(&corp, "policy 1 module main\nrule {").unwrap();
    fs::write(&root, ROOT.replace("77s", "55s")).unwrap();
    assert_eq!(reload(&running.gateway, dir.path()).name(), "applied");
    assert_eq!(
        (lifetime("corp").await, lifetime("partner").await),
        (77, 55)
    );
    fs::write(&corp, &good).unwrap();
    assert_eq!(reload(&running.gateway, dir.path()).name(), "applied");
    assert_eq!(
        (lifetime("corp").await, lifetime("partner").await),
        (55, 55)
    );
    // A record says which of the two it was.
    assert_ne!(
        running
            .gateway
            .live
            .load()
            .realm(Some("corp"))
            .unwrap()
            .hash,
        before
    );
    assert_eq!(reload(&running.gateway, dir.path()).name(), "unchanged");
}

/// Whoever comes later, and would be somebody who is there, is the one that is not taken. Where both are new,
/// nobody can say which is right, and nothing starts.
#[tokio::test(flavor = "multi_thread")]
async fn a_newcomer_takes_nobodys_place() {
    let (dir, idp) = by_path();
    let running = start(dir.path()).await;
    write_realm(
        &dir.path().join("third"),
        "https://as.example.com/corp",
        "",
        &secret("third"),
        &idp,
    );
    let with_third = ROOT.replace("realms: {", "realms: { third: third,");
    fs::write(dir.path().join("cambist.yaml"), with_third).unwrap();
    match reload(&running.gateway, dir.path()) {
        ReloadOutcome::Applied(_, Some(rejected)) => {
            assert_eq!(
                rejected
                    .realms
                    .iter()
                    .map(|name| name.as_str())
                    .collect::<Vec<_>>(),
                ["third"]
            );
        }
        other => panic!("{}", other.name()),
    }
    let said = status(&running).await;
    assert_eq!(said["realms"]["corp"]["in_step"], true);
    assert_eq!(said["realms_not_loaded"], json!(["third"]));
    let answer = trade(
        &running,
        "x",
        "/corp/token",
        &secret("corp"),
        &subject_token(&idp),
    )
    .await;
    assert_eq!(answer.status, 200);
    assert!(try_start(dir.path()).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_needs_a_restart_says_which_realms_wait_for_it() {
    let (dir, _) = by_path();
    let running = start(dir.path()).await;
    let root = ROOT.replace("admin: { listen", "admin: { socket: admin.sock, listen");
    fs::write(dir.path().join("cambist.yaml"), root).unwrap();
    fs::write(
        dir.path().join("corp/main.policy"),
        "policy 1 module main\nrule {",
    )
    .unwrap();
    assert_eq!(reload(&running.gateway, dir.path()).name(), "needs_restart");
    let said = status(&running).await;
    for realm in ["corp", "partner"] {
        assert_eq!(said["realms"][realm]["in_step"], false, "{realm}");
    }
    let details = said["last_reload"]["details"].as_array().unwrap();
    assert_eq!(details[0], "admin.socket");
    assert!(
        details.iter().any(|one| one["code"] == "E0100"),
        "{details:?}"
    );
}

/// Directories change places: whoever issues under another name has other keys.
#[tokio::test(flavor = "multi_thread")]
async fn keys_follow_the_issuer_and_not_the_realms_name() {
    let (dir, _) = by_path();
    let running = start(dir.path()).await;
    let keys = async |realm: &str| get(&running, "x", &format!("/{realm}/jwks")).await.body;
    let (corp, partner) = (keys("corp").await, keys("partner").await);
    let swapped = ROOT.replace(
        "corp: corp, partner: realms/partner",
        "corp: realms/partner, partner: corp",
    );
    fs::write(dir.path().join("cambist.yaml"), swapped).unwrap();
    assert_eq!(reload(&running.gateway, dir.path()).name(), "applied");
    for realm in ["corp", "partner"] {
        let now = keys(realm).await;
        let other = if realm == "corp" { &partner } else { &corp };
        assert_ne!(&now, other, "the keys of the other issuer");
    }
}
