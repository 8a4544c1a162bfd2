//! Keeps the keys of the live configuration warm: at the start, after a reload, ahead of their end.

use std::sync::Arc;
use std::time::Duration;

use super::Remote;

/// How often it looks whether anything is due. What a request needs before, it fetches itself.
const PULSE: Duration = Duration::from_millis(500);

/// Runs until it is dropped. `live` gives the keys that are in use at this moment.
pub async fn keep(live: impl Fn() -> Vec<Arc<Remote>> + Send) {
    let mut known: Vec<Arc<Remote>> = Vec::new();
    loop {
        let now = live();
        let unused = |old: &&Arc<Remote>| !now.iter().any(|kept| Arc::ptr_eq(kept, old));
        for gone in known.iter().filter(unused) {
            let whose = |remote: &Remote| {
                let settings = remote.settings();
                (settings.realm.clone(), Arc::clone(&settings.owner))
            };
            gone.forget(now.iter().any(|kept| whose(kept) == whose(gone)));
        }
        for remote in &now {
            remote.remember();
            remote.refresh_if_due();
            remote.measure();
        }
        known = now;
        tokio::time::sleep(PULSE).await;
    }
}
