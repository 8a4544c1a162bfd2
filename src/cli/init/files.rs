//! The files of a new configuration.

use std::collections::BTreeSet;

use super::File;
use super::provider::Provider;
use crate::client::SaltedHash;
use crate::config::{PRESETS, ROOT};

/// The policy.
pub(super) const POLICY: &str = "main.policy";
const KEY: &str = "as.pem";
pub(super) const IGNORED: &str = ".gitignore";

/// What is made, in this order.
pub(super) const NAMES: [&str; 4] = [ROOT, POLICY, KEY, IGNORED];

/// All files, with what is known of the provider filled in.
pub(super) fn all(provider: Option<&Provider>, hash: &SaltedHash, pem: &str) -> Vec<File> {
    let open = |name, text| File {
        name,
        text,
        private: false,
    };
    vec![
        open(ROOT, configuration(provider, hash)),
        open(POLICY, policy(provider)),
        File {
            name: KEY,
            text: pem.to_owned(),
            private: true,
        },
        open(
            IGNORED,
            "# Keys, secrets and records do not belong into a repository.\n*.pem\n*.secret\naudit.jsonl\n"
                .to_owned(),
        ),
    ]
}

/// Text as YAML, whatever is in it: what JSON quotes, YAML reads.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// Whether its tokens say of themselves what they are good for.
fn has_scope(provider: Option<&Provider>) -> bool {
    says(provider, "scope:") != Some("none")
}

/// What the provider's preset says for a key of its first level.
fn says(provider: Option<&Provider>, key: &str) -> Option<&'static str> {
    let name = provider?.preset?;
    let preset = PRESETS.iter().find(|preset| preset.name == name)?;
    let mut lines = preset.text.lines();
    lines.find_map(|line| line.strip_prefix(key).map(str::trim))
}

fn configuration(provider: Option<&Provider>, hash: &SaltedHash) -> String {
    let scopes = match has_scope(provider) {
        true => "    scopes: [read, write]                 # what it offers\n",
        false => "",
    };
    format!(
        r#"# The configuration of Cambist. `cambist check` says what is wrong with it, `cambist explain` why an exchange is
# refused; saving a file is enough, while `cambist serve` runs.

server: {{ listen: 127.0.0.1:8080 }}        # for clients; beyond this machine, with `tls:` or `behind_tls: true`
admin:  {{ listen: 127.0.0.1:9090 }}        # /metrics, /livez, /readyz?verbose, /status
audit:  {{ file: audit.jsonl }}             # one line for every answer, written before it leaves

# Who we are: what stands in `iss` of our tokens, and where our metadata and keys are found.
issuer: http://127.0.0.1:8080             # in production https://…
keys: [ {{ file: {KEY} }} ]                # `cambist keys rotate` makes the next one

# Whose tokens are trusted.
issuers:
  idp:
{}
# Who may ask. `cambist secret new` draws a secret; only its hash lies here.
clients:
  app:
    auth: {{ client_secret_basic: {{ secret_sha256: "{hash}" }} }}

# What tokens can be for.
resources:
  backend:
    under: https://backend.example.com    # every URI below it
    audience: https://backend.example.com # its name in `aud`
{scopes}
# What carries an exchange out.
processors:
  backend-token: {{ provider: mint, lifetime: 5m }}

policies: ["*.policy"]
"#,
        issuer(provider)
    )
}

/// The keys of the issuer.
fn issuer(provider: Option<&Provider>) -> String {
    let mut out = String::new();
    let mut line = |text: &str| {
        out.push_str("    ");
        out.push_str(text);
        out.push('\n');
    };
    let Some(known) = provider else {
        line(
            "issuer: https://idp.example.com       # yours; `cambist init --from URL` fills this in",
        );
        line("discovery: openid                     # or `jwks_uri: URL`, `jwks_file: PATH`");
        line(
            "audience: client                      # whom its tokens must be addressed to: `client`, `self`, names",
        );
        line("scope: claim");
        line("subjects: local                       # its subjects are ours");
        return out;
    };
    if let Some(preset) = known.preset {
        line(&format!(
            "preset: {preset}    # `cambist reference {preset}` shows what it says"
        ));
    }
    line(&format!("issuer: {}", quoted(known.issuer.as_str())));
    if known.preset.is_none() || known.discovery != "openid" {
        line(&format!("discovery: {}", known.discovery));
    }
    let names: Vec<&str> = known.algorithms.iter().map(|alg| alg.as_str()).collect();
    if !names.is_empty() && says(provider, "algorithms:").is_none() {
        line(&format!("algorithms: [{}]", names.join(", ")));
    }
    match has_scope(provider) {
        true => line(
            "audience: client    # whom its tokens must be addressed to: `client`, `self`, names",
        ),
        // Of a workflow, which asks for a token for us.
        false if says(provider, "token_types:") != Some("[id_token]") => {
            line("audience: self      # whom its tokens must be addressed to: us");
        }
        false => {}
    }
    if says(provider, "scope:").is_none() {
        line("scope: claim");
    }
    line("subjects: local     # its subjects are ours");
    if let Some(claim) = says(provider, "tenancy:") {
        line(&format!(
            "tenancy: {{ {claim}: [\"yours\"] }}   # the issuer is everybody's: write whose tokens are taken"
        ));
    }
    if let Some(endpoint) = &known.introspection {
        line("# To ask it about opaque tokens (RFC 7662):");
        line("# introspection:");
        line(&format!("#   endpoint: {}", quoted(&endpoint.to_string())));
        line("#   client_id: cambist");
        line("#   secret_file: introspection.secret");
    }
    out
}

fn policy(provider: Option<&Provider>) -> String {
    let scope = match has_scope(provider) {
        true => r#"requested & subject.scope & ["read"]"#,
        false => "[]",
    };
    let (given, expected) = match has_scope(provider) {
        true => (
            r#"idp { sub: "alice", scope: ["read", "admin"] }"#,
            "    scope: [\"read\"],\n",
        ),
        false => (r#"idp { sub: "alice" }"#, ""),
    };
    let mut text = format!(
        r#"policy 1 module main

## The app may trade a user's token for one that the backend takes, and for nothing else.
rule app-to-backend {{
  from  idp                                                # whose token
  by    client "app"                                       # which client
  to    resource under "https://backend.example.com"       # for which target
  use   backend-token {{ scope: {scope} }}
}}

test "the app gets a token for the backend" {{
  given {{
    client.id = "app"
    subject   = {given}
    resource  = ["https://backend.example.com/api"]
  }}
  expect use backend-token by app-to-backend {{
    audience: ["https://backend.example.com"],
{expected}  }}
}}

test "but not for a host that only looks like it" {{
  given {{
    client.id = "app"
    subject   = {given}
    resource  = ["https://backend.example.com.evil.example/api"]
  }}
  expect refuse invalid_target
}}
"#
    );
    if let Some(provider) = provider.filter(|_| has_scope(provider)) {
        text.push_str(&drafts(provider));
    }
    text
}

/// A rule for each scope that the provider has, to be taken up or thrown away.
fn drafts(provider: &Provider) -> String {
    if provider.scopes.is_empty() {
        return String::new();
    }
    let mut out = String::from(
        "\n# The provider has these scopes too. A rule for each: take away the `#`, say what it is for, and list the\n\
         # scope under `resources:` in cambist.yaml.\n",
    );
    let mut names = BTreeSet::new();
    for scope in &provider.scopes {
        let name = rule_name(scope, &mut names);
        let draft = format!(
            "\nrule {name} {{\n  from  idp\n  by    client \"app\"\n  to    resource under \
             \"https://{name}.example.com\"\n  use   backend-token {{ scope: requested & subject.scope & [{}] }}\n}}\n",
            quoted(scope)
        );
        for line in draft.lines() {
            out.push_str(if line.is_empty() { "#" } else { "# " });
            out.push_str(line);
            out.push('\n');
        }
    }
    if provider.further_scopes > 0 {
        out.push_str(&format!("#\n# … and {} more.\n", provider.further_scopes));
    }
    out
}

/// A name for a rule and for a host, each once.
fn rule_name(scope: &str, names: &mut BTreeSet<String>) -> String {
    let mut name = String::from("for-");
    for c in scope.chars().take(40) {
        match c.to_ascii_lowercase() {
            c if c.is_ascii_alphanumeric() => name.push(c),
            _ if !name.ends_with('-') => name.push('-'),
            _ => {}
        }
    }
    let base = name.trim_end_matches('-').to_owned();
    let mut numbered = (1..).map(|count| match count {
        1 => base.clone(),
        count => format!("{base}-{count}"),
    });
    let free = numbered.find(|name| !names.contains(name));
    let name = free.unwrap_or(base.clone());
    names.insert(name.clone());
    name
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::clock::Clock;
    use crate::config::{Loaded, Tests, load};
    use crate::diagnostic::Style;
    use crate::jose::{Algorithm, SigningKey};
    use crate::oauth::secret::Secret;
    use crate::services::Services;

    /// What a load says of the files, with what is commented out taken up where that is asked for.
    fn loads(provider: Option<&Provider>, taken_up: bool) -> Result<usize, String> {
        let dir = tempfile::tempdir().unwrap();
        let hash = SaltedHash::new(&Secret::new("a-secret-of-some-length".to_owned())).unwrap();
        let pem = SigningKey::generate_pem(Algorithm::ES256).unwrap();
        for file in all(provider, &hash, &pem) {
            let mut text = file.text;
            if taken_up && file.name == POLICY {
                let (rules, drafts) = text.split_once("\n# The provider has").unwrap();
                let drafts = drafts.lines().skip(2).filter(|line| !line.contains('…'));
                let drafts: Vec<&str> = drafts
                    .map(|line| line.trim_start_matches('#').trim_start_matches(' '))
                    .collect();
                text = format!("{rules}\n{}", drafts.join("\n"));
            }
            fs::write(dir.path().join(file.name), text).unwrap();
        }
        let services = Services::new(Clock::system()).unwrap();
        let loaded = load(dir.path(), &services, None, Tests::Run).and_then(Loaded::whole);
        match loaded {
            Ok(snapshot) => Ok(snapshot.first().policies.counts().0),
            Err(error) => Err(error.diagnostics.render(&error.sources, Style::Plain)),
        }
    }

    fn provider(issuer: &str) -> Provider {
        let issuer = issuer.parse().unwrap();
        Provider {
            preset: super::super::provider::preset(&issuer),
            issuer,
            discovery: "openid",
            algorithms: vec![Algorithm::RS256],
            introspection: "https://idp.example.com/introspect".parse().ok(),
            scopes: ["read", "Read", "api://x/y.z", "-"].map(Into::into).into(),
            further_scopes: 3,
        }
    }

    #[test]
    fn what_is_made_loads_for_every_vendor_that_is_known() {
        assert_eq!(loads(None, false), Ok(1));
        let mut presets = BTreeSet::new();
        for issuer in [
            "https://idp.example.com",
            "https://sso.example.com/realms/corp",
            "https://login.microsoftonline.com/0000/v2.0",
            "https://corp.okta.com/oauth2/default",
            "https://corp.eu.auth0.com/",
            "https://accounts.google.com",
            "https://token.actions.githubusercontent.com",
            "https://gitlab.com",
        ] {
            let provider = provider(issuer);
            presets.extend(provider.preset);
            assert_eq!(loads(Some(&provider), false), Ok(1), "{issuer}");
        }
        // That of clusters is told by nothing in its URL.
        assert_eq!(presets.len(), PRESETS.len() - 1);
    }

    #[test]
    fn every_draft_is_a_rule() {
        let taken_up = loads(Some(&provider("https://idp.example.com")), true);
        assert_eq!(taken_up, Ok(5));
    }
}
