//! `outbound:`: whom our own requests trust, and where they may go.

use ipnet::IpNet;

use super::Sources;
use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::net::{Net, Outbound};
use crate::policy::pattern::prefix;
use crate::section::{Node, Section};
use crate::services::Services;

/// The services with the outbound client that the section asks for, if it does: one that runs where nothing
/// has changed, so that its connections are kept.
pub(super) fn services(
    root: &mut Section,
    sources: &mut Sources,
    services: &Services,
    running: &[&Net],
    problems: &mut Diagnostics,
) -> Services {
    if !root.has("outbound") {
        root.take("outbound");
        return services.clone();
    }
    let outbound = outbound(root, sources, problems);
    let mut same = running.iter().copied().chain([&services.net]);
    let net = match same.find(|net| *net.outbound() == outbound) {
        Some(net) => net.clone(),
        None => match Net::with(outbound) {
            Ok(net) => net,
            Err(error) => {
                let message = format!("the outbound client cannot be set up: {error}");
                problems.push(Diagnostic::error("E1006", message).at(&root.span));
                services.net.clone()
            }
        },
    };
    Services {
        net,
        ..services.clone()
    }
}

/// `outbound: { ca_file: corp.pem, allow_addresses: [169.254.1.0/24] }`.
fn outbound(root: &mut Section, sources: &mut Sources, problems: &mut Diagnostics) -> Outbound {
    let mut outbound = Outbound::default();
    let Some(mut section) = root.section("outbound", problems) else {
        return outbound;
    };
    if let Some(node) = section.take("ca_file")
        && let Some(name) = node.text(problems)
        && let Some(pem) = sources.bytes(&name, Some(&node.span), problems)
    {
        match Outbound::roots(&pem) {
            Ok(roots) => outbound.roots = roots,
            Err(error) => {
                let problem = Diagnostic::error("E1011", format!("`{name}` {error}"));
                problems.push(problem.at(&node.span));
            }
        }
    }
    let nodes = section.take("allow_addresses").map(Node::list);
    for node in nodes.unwrap_or_default() {
        let Some(text) = node.text(problems) else {
            continue;
        };
        match prefix(&text) {
            Ok(prefix) => {
                let least = match prefix {
                    IpNet::V4(_) => 8,
                    IpNet::V6(_) => 16,
                };
                if prefix.prefix_len() < least {
                    let message = format!("`{text}` is so wide that hardly any address is refused");
                    let problem = Diagnostic::warning("E1009", message).at(&node.span);
                    problems.push(problem.help("list the networks that are meant"));
                }
                outbound.allow.push(prefix);
            }
            Err(error) => {
                let problem = Diagnostic::error("E1006", format!("`{text}` {error}"));
                problems.push(problem.at(&node.span).help(error.help()));
            }
        }
    }
    section.finish(problems);
    outbound
}
