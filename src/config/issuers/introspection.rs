//! `introspection:`: where an issuer is asked about its tokens (RFC 7662), and how we say who we are.

use std::sync::Arc;
use std::time::Duration;

use crate::config::clients::{Found, secret_from};
use crate::config::reader::Reader;
use crate::diagnostic::Diagnostic;
use crate::net::{Endpoint, Limits, basic};
use crate::oauth::uri::Uri;
use crate::section::Section;
use crate::token::{Credentials, Introspection};

/// The largest introspection response.
const MAX_ANSWER: usize = 64 * 1024;

impl Reader<'_> {
    pub(super) fn introspection(
        &mut self,
        owner: &Arc<str>,
        mut section: Section,
    ) -> Option<Introspection> {
        let span = section.span.clone();
        let endpoint = section.require("endpoint", self.problems);
        let allow_http = section.flag("insecure_http", self.problems);
        let client_id = section
            .take("client_id")
            .and_then(|node| node.text(self.problems));
        let in_form = self.method(&mut section);
        let secret = secret_from(&mut section, self.sources, self.problems);
        let unauthenticated = section.flag("unauthenticated", self.problems);
        let timeout = self.seconds(&mut section, "timeout", 3, 0..=60).max(1);
        section.finish(self.problems);
        let endpoint = endpoint.and_then(|node| {
            let uri: Uri = node.parse(self.problems)?;
            let parsed = if allow_http {
                Endpoint::allow_http(&uri)
            } else {
                Endpoint::try_from(&uri)
            };
            self.reachable(&uri, parsed, &node.span)
        });
        let credentials = match (client_id, secret) {
            (None, Found::None) if unauthenticated => Credentials::None,
            (None, Found::None) => {
                let message =
                    "say how this server authenticates to the endpoint (RFC 7662 section 2.1)";
                let problem = Diagnostic::error("E1005", message).at(&span);
                let problem = problem.help("give `client_id` and `secret_file` or `secret_env`");
                self.problems.push(
                    problem.help("for an endpoint that asks for none, say `unauthenticated: true`"),
                );
                Credentials::None
            }
            (Some(_), Found::Secret(_)) if unauthenticated => {
                self.report("E1005", "`unauthenticated` contradicts `client_id`", &span);
                Credentials::None
            }
            (Some(id), Found::Secret(secret)) if in_form => Credentials::Post {
                client_id: id.to_string(),
                secret,
            },
            (Some(id), Found::Secret(secret)) => Credentials::Basic(basic(&id, &secret)),
            (_, Found::Broken) => Credentials::None,
            _ => {
                self.report("E1005", "`client_id` and a secret go together", &span);
                Credentials::None
            }
        };
        let timeout = Duration::from_secs(u64::try_from(timeout).unwrap_or(3));
        Some(Introspection {
            net: self.services.net.clone(),
            upstream: self
                .services
                .metrics
                .upstream(self.realm, "introspection", owner),
            endpoint: endpoint?,
            credentials,
            limits: Limits {
                timeout,
                max_body: MAX_ANSWER,
            },
        })
    }

    /// `method: client_secret_post`, where the endpoint knows no Basic.
    fn method(&mut self, section: &mut Section) -> bool {
        const METHODS: [&str; 2] = ["client_secret_basic", "client_secret_post"];
        let Some(node) = section.take("method") else {
            section.falls_back("method", "client_secret_basic");
            return false;
        };
        match node.text(self.problems).as_deref() {
            Some("client_secret_post") => true,
            Some("client_secret_basic") | None => false,
            Some(other) => {
                let message = format!("`{other}` is no method of this build for introspection");
                let problem = Diagnostic::error("E1006", message).at(&node.span);
                self.problems.push(problem.correct(other, METHODS));
                false
            }
        }
    }
}
