//! What follows a change on disk: applied, unchanged, rejected with the old one kept, restart needed;
//! symlink swaps; requests that keep the configuration they began with.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use cambist::audit::sink::Target;
use cambist::clock::Clock;
use cambist::demo::toys;
use cambist::reload::watch::Settle;
use cambist::reload::{ReloadOutcome, reload};
use cambist::run::{Options, Running};
use tokio::sync::mpsc;

const SAMPLE: &str = include_str!("../../policies/cambist.yaml");
const POLICY: &str = include_str!("../../policies/main.policy");
/// The same rules, the deny without its condition on one scope: another answer.
const CLOSED: &str = "policy 1 module main\n\ndeny everything { error invalid_target to any target }\n\
                      rule r { from op by any client to any target use backend-token }\n";

/// The sample realm on free ports, with its identity provider.
async fn realm(dir: &Path) -> String {
    let idp = toys::identity_provider(([127, 0, 0, 1], 0).into(), Clock::system())
        .await
        .unwrap();
    let yaml = SAMPLE
        .replace("127.0.0.1:8080", "127.0.0.1:0")
        .replace("127.0.0.1:9090", "127.0.0.1:0")
        .replace("127.0.0.1:7001", &idp.to_string());
    fs::write(dir.join("cambist.yaml"), &yaml).unwrap();
    fs::write(dir.join("main.policy"), POLICY).unwrap();
    yaml
}

async fn start(
    dir: &Path,
    settle: Option<Settle>,
) -> (Running, mpsc::UnboundedReceiver<&'static str>) {
    let (to, outcomes) = mpsc::unbounded_channel();
    let tell = move |outcome: &ReloadOutcome| to.send(outcome.name()).unwrap_or_default();
    let options = Options {
        clock: Clock::system(),
        audit: Some(Target::Memory(Arc::new(Mutex::new(Vec::new())))),
        settle,
        tell: Box::new(tell),
        ..Options::of(Clock::system())
    };
    (Running::start(dir, options).await.unwrap(), outcomes)
}

async fn exchange(running: &Running) -> u16 {
    let answer = toys::call(running.address, &toys::exchange_request(toys::BEARER))
        .await
        .unwrap();
    toys::status(&answer)
}

async fn admin(running: &Running, path: &str) -> String {
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    toys::call(running.admin, &request).await.unwrap()
}

fn quick() -> Option<Settle> {
    // The poll is long enough never to come in a test: what is seen was seen by events.
    Some(Settle {
        quiet: Duration::from_millis(30),
        max_wait: Duration::from_secs(1),
        poll: Duration::from_secs(600),
    })
}

async fn next(outcomes: &mut mpsc::UnboundedReceiver<&'static str>) -> &'static str {
    tokio::time::timeout(Duration::from_secs(20), outcomes.recv())
        .await
        .expect("no reload came")
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_outcome_tells_the_truth_everywhere() {
    let dir = tempfile::tempdir().unwrap();
    let yaml = realm(dir.path()).await;
    let (running, _outcomes) = start(dir.path(), None).await;
    let gateway = &running.gateway;
    let first = gateway.live.load().hash.clone();
    assert_eq!(exchange(&running).await, 200);
    let gauge = |value: u8| format!("cambist_config_last_reload_successful {value}");

    assert_eq!(reload(gateway, dir.path()).name(), "unchanged");
    assert!(admin(&running, "/metrics").await.contains(&gauge(1)));

    fs::write(
        dir.path().join("main.policy"),
        "policy 1 module main\nrule r {",
    )
    .unwrap();
    assert_eq!(reload(gateway, dir.path()).name(), "rejected");
    assert_eq!(
        (exchange(&running).await, &gateway.live.load().hash),
        (200, &first),
        "the old one keeps serving"
    );
    assert!(admin(&running, "/metrics").await.contains(&gauge(0)));
    let status = admin(&running, "/status").await;
    assert!(
        status.contains("\"rejected\"") && status.contains("E0100") && status.contains(&first),
        "{status}"
    );
    let ready = admin(&running, "/readyz?verbose").await;
    assert!(
        ready.starts_with("HTTP/1.1 200") && ready.contains("[-] last reload: rejected"),
        "{ready}"
    );

    // Going back to what runs makes everything good again.
    fs::write(dir.path().join("main.policy"), POLICY).unwrap();
    assert_eq!(reload(gateway, dir.path()).name(), "unchanged");
    assert!(admin(&running, "/metrics").await.contains(&gauge(1)));

    fs::write(dir.path().join("main.policy"), CLOSED).unwrap();
    assert_eq!(reload(gateway, dir.path()).name(), "applied");
    assert_eq!(exchange(&running).await, 400);
    assert_ne!(gateway.live.load().hash, first);

    fs::write(
        dir.path().join("cambist.yaml"),
        yaml.replace("admin:  { listen", "admin:  { socket: admin.sock, listen"),
    )
    .unwrap();
    fs::write(dir.path().join("main.policy"), POLICY).unwrap();
    match reload(gateway, dir.path()) {
        ReloadOutcome::NeedsRestart(restart) => {
            assert_eq!(restart.fields, ["admin.socket"])
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(exchange(&running).await, 400, "not a part of it is taken");
    assert!(admin(&running, "/status").await.contains("needs_restart"));
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ephemeral_key_outlives_a_reload() {
    let dir = tempfile::tempdir().unwrap();
    realm(dir.path()).await;
    let (running, _outcomes) = start(dir.path(), None).await;
    let before = running.gateway.live.load().first().jwks.clone();
    fs::write(dir.path().join("main.policy"), CLOSED).unwrap();
    assert_eq!(reload(&running.gateway, dir.path()).name(), "applied");
    assert_eq!(running.gateway.live.load().first().jwks, before);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_takes_keys_at_their_word() {
    let dir = tempfile::tempdir().unwrap();
    let yaml = realm(dir.path()).await;
    let pem = cambist::jose::SigningKey::generate_pem(cambist::jose::Algorithm::ES256).unwrap();
    fs::write(dir.path().join("as.pem"), pem.as_bytes()).unwrap();
    let (running, _outcomes) = start(dir.path(), None).await;
    let load = |key: &str| {
        fs::write(
            dir.path().join("cambist.yaml"),
            yaml.replace("{ ephemeral: ES256 }", key),
        )
        .unwrap();
        assert_eq!(
            reload(&running.gateway, dir.path()).name(),
            "applied",
            "{key}"
        );
        // The listed ones come first; what they succeed is published behind them.
        let listed = key.matches('{').count();
        let snapshot = running.gateway.live.load();
        let keys = snapshot.first().keys.iter().take(listed);
        keys.map(|key| key.kid().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(load("{ ephemeral: ES256, kid: named }"), ["named"]);
    let from_file = load("{ file: as.pem }");
    // A key that was withdrawn does not come back under another heading.
    assert_ne!(load("{ ephemeral: ES256 }"), from_file);
    let both = load("{ ephemeral: ES256 }, { ephemeral: EdDSA }");
    assert_eq!(
        load("{ ephemeral: EdDSA }, { ephemeral: ES256 }"),
        [both[1].clone(), both[0].clone()]
    );
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edit_is_seen_and_a_broken_one_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    realm(dir.path()).await;
    let (running, mut outcomes) = start(dir.path(), quick()).await;
    // As editors save: a new file renamed over the old one.
    let save = |text: &str| {
        fs::write(dir.path().join(".main.policy.swp"), text).unwrap();
        fs::rename(
            dir.path().join(".main.policy.swp"),
            dir.path().join("main.policy"),
        )
        .unwrap();
    };
    save(CLOSED);
    assert_eq!(next(&mut outcomes).await, "applied");
    assert_eq!(exchange(&running).await, 400);
    save("policy 1 module main\nrule");
    assert_eq!(next(&mut outcomes).await, "rejected");
    assert_eq!(exchange(&running).await, 400);
    save(POLICY);
    assert_eq!(next(&mut outcomes).await, "applied");
    assert_eq!(exchange(&running).await, 200);
    // A second file beside it counts too. What contradicts the proofs of the first is not taken.
    let more = "policy 1 module more\ndeny all { to any target }\n";
    fs::write(dir.path().join("more.policy"), more).unwrap();
    assert_eq!(next(&mut outcomes).await, "rejected");
    assert_eq!(exchange(&running).await, 200);
    let said = admin(&running, "/status").await;
    assert!(said.contains("E0705"), "{said}");
    // Nor what contradicts its tests.
    save(POLICY.split("\nprove ").next().unwrap());
    assert_eq!(next(&mut outcomes).await, "rejected");
    let said = admin(&running, "/status").await;
    assert!(said.contains("E0701"), "{said}");
    save(POLICY.split("\ntest ").next().unwrap());
    assert_eq!(next(&mut outcomes).await, "applied");
    assert_eq!(exchange(&running).await, 400);
    fs::remove_file(dir.path().join("more.policy")).unwrap();
    assert_eq!(next(&mut outcomes).await, "applied");
    assert_eq!(exchange(&running).await, 200);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_configmap_swap_is_seen_twice() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    let yaml = realm(root).await;
    for name in ["cambist.yaml", "main.policy"] {
        fs::remove_file(root.join(name)).unwrap();
        symlink(format!("..data/{name}"), root.join(name)).unwrap();
    }
    let swap = |version: &str, policy: &str| {
        fs::create_dir(root.join(version)).unwrap();
        fs::write(root.join(version).join("cambist.yaml"), &yaml).unwrap();
        fs::write(root.join(version).join("main.policy"), policy).unwrap();
        symlink(version, root.join("..data_tmp")).unwrap();
        fs::rename(root.join("..data_tmp"), root.join("..data")).unwrap();
    };
    swap("..1", POLICY);
    let (running, mut outcomes) = start(root, quick()).await;
    assert_eq!(exchange(&running).await, 200);
    swap("..2", CLOSED);
    fs::remove_dir_all(root.join("..1")).unwrap();
    assert_eq!(next(&mut outcomes).await, "applied");
    assert_eq!(exchange(&running).await, 400);
    swap("..3", POLICY);
    fs::remove_dir_all(root.join("..2")).unwrap();
    assert_eq!(next(&mut outcomes).await, "applied");
    assert_eq!(exchange(&running).await, 200);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn half_a_file_is_never_taken() {
    let dir = tempfile::tempdir().unwrap();
    realm(dir.path()).await;
    // A deny in front would be all that is left of this file when it is cut between two rules.
    let whole = format!(
        "{POLICY}\nrule last {{ from op by any client to audience \"x\" use backend-token }}\n"
    );
    let path = dir.path().join("main.policy");
    fs::write(&path, &whole).unwrap();
    let manifest = |text: &str| {
        let hash: String = cambist::jose::sha256(text.as_bytes())
            .iter()
            .map(|b| format!("{b:02x}"))
            .collect();
        fs::write(
            dir.path().join("policies.sha256"),
            format!("{hash}  main.policy\n"),
        )
        .unwrap();
    };
    manifest(&whole);
    let (running, _outcomes) = start(dir.path(), None).await;
    let counts = running.gateway.live.load().first().policies.counts();
    for end in 0..whole.len() {
        if !whole.is_char_boundary(end) {
            continue;
        }
        fs::write(&path, &whole[..end]).unwrap();
        assert_eq!(
            reload(&running.gateway, dir.path()).name(),
            "rejected",
            "cut at {end}"
        );
    }
    assert_eq!(
        running.gateway.live.load().first().policies.counts(),
        counts
    );
    fs::write(&path, POLICY).unwrap();
    assert_eq!(
        reload(&running.gateway, dir.path()).name(),
        "rejected",
        "sound, but not what the manifest says"
    );
    manifest(POLICY);
    assert_eq!(reload(&running.gateway, dir.path()).name(), "applied");
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_exchange_fails_while_the_configuration_changes() {
    let dir = tempfile::tempdir().unwrap();
    realm(dir.path()).await;
    let (running, _outcomes) = start(dir.path(), None).await;
    let address = running.address;
    let load = tokio::spawn(async move {
        let mut seen = [0_u32; 2];
        for _ in 0..60 {
            let answer = toys::call(address, &toys::exchange_request(toys::BEARER))
                .await
                .unwrap();
            match toys::status(&answer) {
                200 => seen[0] += 1,
                400 if answer.contains("invalid_target") => seen[1] += 1,
                other => panic!("{other}: {answer}"),
            }
        }
        seen
    });
    let path = dir.path().join("main.policy");
    let mut turn = 0;
    while !load.is_finished() {
        let text = [CLOSED, "broken", POLICY][turn % 3];
        fs::write(&path, text).unwrap();
        reload(&running.gateway, dir.path());
        turn += 1;
        tokio::task::yield_now().await;
    }
    let [issued, refused] = load.await.unwrap();
    assert_eq!(issued + refused, 60);
    assert!(turn > 3, "too few reloads to show anything");
    running.stop().await;
}
