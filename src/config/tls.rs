//! `tls:` of a listener: `{ cert_file: tls.crt, key_file: tls.key }`, or several, chosen by name.

use super::Sources;
use crate::clock::rfc3339;
use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::oauth::NumericDate;
use crate::section::{Node, Section};
use crate::tls::{Fault, Identity, ServerTls};

/// Reads `tls:` of a listener, where it stands; a certificate that cannot serve is reported.
pub(super) fn tls(
    listener: &mut Section,
    now: NumericDate,
    sources: &mut Sources,
    problems: &mut Diagnostics,
) -> Option<ServerTls> {
    let node = listener.take("tls")?;
    let span = node.span.clone();
    let (before, _) = problems.counts();
    let identities: Vec<Identity> = node
        .list()
        .into_iter()
        .filter_map(|node| identity(node, now, sources, problems))
        .collect();
    if problems.counts().0 > before {
        return None;
    }
    match ServerTls::new(identities) {
        Ok(tls) => Some(tls),
        Err(error) => {
            let problem = Diagnostic::error("E1022", format!("`tls` {error}")).at(&span);
            problems.push(problem.help("`tls: { cert_file: tls.crt, key_file: tls.key }`"));
            None
        }
    }
}

fn identity(
    node: Node,
    now: NumericDate,
    sources: &mut Sources,
    problems: &mut Diagnostics,
) -> Option<Identity> {
    let mut section = node.section(problems)?;
    let certificates = section.require("cert_file", problems);
    let variable = section.take("key_env");
    let key = match &variable {
        Some(_) => section.take("key_file"),
        None => section.require("key_file", problems),
    };
    section.finish(problems);
    if let (Some(node), Some(_)) = (&variable, &key) {
        let message = "give one of `key_file` and `key_env`";
        problems.push(Diagnostic::error("E1005", message).at(&node.span));
        return None;
    }
    let in_file = key.is_some();
    let (certificates, key) = (certificates?, key.or(variable)?);
    let (name, key_name) = (certificates.text(problems)?, key.text(problems)?);
    let chain = sources.bytes(&name, Some(&certificates.span), problems);
    let private = sources.private_key(&key_name, in_file, &key.span, problems);
    match Identity::from_pem(&name, &chain?, &private?) {
        Ok(identity) => {
            if identity.not_after() <= now {
                let until = rfc3339(identity.not_after());
                let message = format!("the certificate in `{name}` expired at {until}");
                let problem = Diagnostic::warning("E1023", message).at(&certificates.span);
                problems.push(problem.help("renew it: a new file is taken without a restart"));
            }
            Some(identity)
        }
        Err(fault) => {
            let (name, span, error) = match fault {
                Fault::Certificate(error) => (name, certificates.span, error),
                Fault::Key(error) => (key_name, key.span, error),
            };
            problems.push(Diagnostic::error("E1022", format!("`{name}` {error}")).at(&span));
            None
        }
    }
}
