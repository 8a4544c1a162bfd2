//! Keys behind TLS of a private root (`outbound: { ca_file: … }`). The certificates in `data/tls` are for
//! `localhost`, and their root's key was thrown away.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

use cambist::reload::reload;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use super::{FETCHED, World};
use crate::support::Page;

const ROOT: &str = include_str!("../../data/tls/root.pem");
const SERVER: &[u8] = include_bytes!("../../data/tls/server.pem");
const KEY: &[u8] = include_bytes!("../../data/tls/server.key");

/// Answers every request with this document, over TLS.
fn serve(body: String) -> SocketAddr {
    let chain = CertificateDer::pem_slice_iter(SERVER)
        .collect::<Result<Vec<_>, _>>()
        .unwrap();
    let config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(chain, PrivateKeyDer::from_pem_slice(KEY).unwrap())
        .unwrap();
    let config = Arc::new(config);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let connection = ServerConnection::new(Arc::clone(&config)).unwrap();
            let mut stream = StreamOwned::new(connection, stream.unwrap());
            // Whoever does not trust the root ends the handshake, and that is that.
            let _ = stream.read(&mut [0; 4096]);
            if let Page::Raw(bytes) = Page::json(&body) {
                let _ = stream.write_all(&bytes);
            }
            stream.conn.send_close_notify();
            let _ = stream.flush();
        }
    });
    address
}

#[tokio::test]
async fn a_private_root_is_trusted_where_it_is_configured_and_nowhere_else() {
    let world = World::start().await;
    let address = serve(world.idp.jwks());
    let dir = world.gateway.dir.path();
    let gateway = &world.gateway.running.gateway;
    let yaml = fs::read_to_string(dir.join("cambist.yaml")).unwrap();
    let plain = format!("http://{}/jwks", world.site.address);
    let secure = yaml.replace(
        &plain,
        &format!("https://localhost:{}/jwks", address.port()),
    );
    assert_ne!(secure, yaml);
    fs::write(dir.join("cambist.yaml"), &secure).unwrap();
    assert_eq!(reload(gateway, dir).name(), "applied");
    world.result("tls", 1).await;
    world
        .bad("an unknown root", &world.token(), 503, "keys_unavailable")
        .await;

    fs::write(dir.join("corp.pem"), ROOT).unwrap();
    let trusting = format!("outbound: {{ ca_file: corp.pem }}\n{secure}");
    fs::write(dir.join("cambist.yaml"), trusting).unwrap();
    assert_eq!(reload(gateway, dir).name(), "applied");
    world.good("the root is known").await;
    // The file is watched and hashed like any other.
    assert!(
        gateway
            .live
            .load()
            .files
            .iter()
            .any(|file| file.ends_with("corp.pem"))
    );
    assert_eq!(reload(gateway, dir).name(), "unchanged");
    let other = ROOT.replacen("-----BEGIN", "# the same root\n-----BEGIN", 1);
    fs::write(dir.join("corp.pem"), other).unwrap();
    assert_eq!(reload(gateway, dir).name(), "applied");
    world.good("the same root, in another file").await;
    fs::write(dir.join("corp.pem"), "none").unwrap();
    assert_eq!(reload(gateway, dir).name(), "rejected");
    world.good("what runs keeps running").await;
    // What came by a root that is not trusted any more goes as soon as that shows.
    fs::write(dir.join("cambist.yaml"), &secure).unwrap();
    assert_eq!(reload(gateway, dir).name(), "applied");
    world.result("tls", 2).await;
    world
        .bad("the root is gone", &world.token(), 503, "keys_unavailable")
        .await;
}

/// A certificate for another name is no certificate, whoever signed it.
#[tokio::test]
async fn a_certificate_for_another_name_is_refused() {
    let address = serve("{}".to_owned());
    let issuers = FETCHED.replace("http://SITE", &format!("https://{address}"));
    let (yaml, rules) = super::realm(&issuers);
    let yaml = format!("outbound: {{ ca_file: corp.pem }}\n{yaml}");
    let gateway = crate::support::Gateway::start(&yaml, &rules, &[("corp.pem", ROOT)]).await;
    for _ in 0..super::PATIENCE {
        let metrics = gateway.admin("/metrics").await.body;
        if metrics
            .contains("cambist_jwks_fetches_total{issuer=\"idp\",realm=\"default\",result=\"tls\"}")
        {
            return;
        }
        tokio::time::sleep(super::PAUSE).await;
    }
    panic!("{}", gateway.admin("/metrics").await.body);
}
