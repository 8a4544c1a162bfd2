//! The topics of the reference: each comes from the table that the program itself goes by.

use serde_json::{Value, json};

use crate::client::METHODS;
use crate::config::PRESETS;
use crate::diagnostic::codes::CODES;
use crate::exchange::GRANTS;
use crate::metrics::{METRICS, PROCESS_METRICS};
use crate::oauth::error::ErrorCode;
use crate::oauth::token_type::TokenType;
use crate::policy::schema::{ATTRIBUTES, FAMILIES, FIELDS, LATER, ParameterKind};
use crate::provider::FACTORIES;

/// Something that the reference lists.
pub(super) struct Topic {
    /// What it is asked for by.
    pub name: &'static str,
    /// What it lists, in a line.
    pub about: &'static str,
    pub entries: fn() -> Vec<Entry>,
}

/// One thing that is documented.
pub(super) struct Entry {
    pub name: String,
    pub doc: String,
    /// What else there is to say, each under a name.
    pub facts: Vec<(&'static str, Value)>,
}

/// All of them.
pub(super) static TOPICS: &[Topic] = &[
    Topic {
        name: "attributes",
        about: "what policies may name",
        entries: attributes,
    },
    Topic {
        name: "codes",
        about: "the codes of findings; each has a page",
        entries: codes,
    },
    Topic {
        name: "environment",
        about: "the variables that the program looks at",
        entries: environment,
    },
    Topic {
        name: "errors",
        about: "what clients are told, with the HTTP status",
        entries: errors,
    },
    Topic {
        name: "grants",
        about: "the grant types of the token endpoint",
        entries: grants,
    },
    Topic {
        name: "methods",
        about: "how clients authenticate",
        entries: methods,
    },
    Topic {
        name: "metrics",
        about: "what `/metrics` on the admin listener shows",
        entries: metrics,
    },
    Topic {
        name: "presets",
        about: "what is known of identity providers; each has a page",
        entries: presets,
    },
    Topic {
        name: "providers",
        about: "the kinds of processors, with what a rule may pass",
        entries: providers,
    },
    Topic {
        name: "token-types",
        about: "the types of tokens, by the names that policies use",
        entries: token_types,
    },
];

fn entry(name: &str, doc: &str) -> Entry {
    Entry {
        name: name.to_owned(),
        doc: doc.to_owned(),
        facts: Vec::new(),
    }
}

impl Entry {
    fn fact(mut self, name: &'static str, value: impl Into<Value>) -> Self {
        self.facts.push((name, value.into()));
        self
    }
}

fn attributes() -> Vec<Entry> {
    let own = ATTRIBUTES
        .iter()
        .map(|it| (it.path, it.doc, it.ty, it.optional));
    let fields = FIELDS
        .iter()
        .map(|it| (it.path, it.doc, it.ty, it.optional));
    let known = own.chain(fields).map(|(path, doc, ty, optional)| {
        entry(path, doc)
            .fact("type", ty.name())
            .fact("may be absent", optional)
    });
    let families = FAMILIES.iter().map(|(path, doc)| {
        entry(&format!("{path}NAME"), doc)
            .fact("type", "as declared")
            .fact("may be absent", true)
    });
    let later = LATER.iter().map(|(path, what)| {
        entry(path, &format!("not in this build: comes with {what}")).fact("type", Value::Null)
    });
    known.chain(families).chain(later).collect()
}

fn codes() -> Vec<Entry> {
    let codes = CODES.iter();
    codes.map(|code| entry(code.code, code.title)).collect()
}

fn errors() -> Vec<Entry> {
    let all = ErrorCode::ALL.into_iter();
    all.map(|code| entry(code.as_str(), code.doc()).fact("status", code.status()))
        .collect()
}

fn grants() -> Vec<Entry> {
    let grants = GRANTS.iter();
    grants
        .map(|grant| entry(grant.name, grant.doc).fact("grant_type", grant.grant_type))
        .collect()
}

fn methods() -> Vec<Entry> {
    let methods = METHODS.iter();
    methods
        .map(|method| entry(method.name, method.doc))
        .collect()
}

fn metrics() -> Vec<Entry> {
    let own = METRICS.iter().map(|metric| {
        let listed = entry(metric.name, metric.help).fact("labels", metric.labels.to_vec());
        match metric.buckets.is_empty() {
            true => listed,
            false => listed.fact("buckets", metric.buckets.to_vec()),
        }
    });
    let process = PROCESS_METRICS.iter().map(|name| {
        entry(
            name,
            "What the operating system says of the process; on Linux only.",
        )
        .fact("labels", Vec::<&str>::new())
    });
    own.chain(process).collect()
}

fn presets() -> Vec<Entry> {
    let presets = PRESETS.iter().map(|preset| {
        // A preset begins with what it is for.
        let first = preset.text.lines().next().unwrap_or_default();
        entry(preset.name, first.trim_start_matches(['#', ' ']))
    });
    presets.collect()
}

fn providers() -> Vec<Entry> {
    let kinds = FACTORIES.iter().map(|factory| {
        let can = &factory.capabilities;
        let names = |types: &[TokenType]| types.iter().map(|ty| Value::from(ty.name())).collect();
        let parameters = factory.parameters.iter().map(|parameter| {
            let takes = match parameter.kind {
                ParameterKind::Text => "text",
                ParameterKind::Map { .. } => "names and values",
            };
            json!({ "name": parameter.name, "takes": takes, "doc": parameter.doc })
        });
        entry(factory.kind, factory.doc)
            .fact("example", factory.example)
            .fact("accepts", Value::Array(names(can.accepts)))
            .fact("issues", Value::Array(names(can.issues)))
            .fact("carries scope", can.carries_scope)
            .fact("carries act", can.carries_act)
            .fact("parameters", parameters.collect::<Value>())
    });
    kinds.collect()
}

fn token_types() -> Vec<Entry> {
    let known = TokenType::names().filter_map(|name| TokenType::from_name(name).ok());
    known
        .map(|ty| entry(ty.name(), ty.doc()).fact("uri", ty.uri()))
        .collect()
}

/// The variables that the program looks at of its own accord.
const ENVIRONMENT: &[(&str, &str)] = &[
    (
        "CAMBIST_LOG",
        "which events `serve` and `demo` log: `info` (the default), `debug`, `cambist::keys=debug,info`, …",
    ),
    (
        "NO_COLOR",
        "where it is set and not empty, nothing is coloured (no-color.org)",
    ),
    (
        "OTEL_EXPORTER_OTLP_ENDPOINT",
        "the collector that spans go to (OTLP over HTTP); the SDK reads the further `OTEL_*` variables as they are documented",
    ),
    (
        "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
        "the same, for spans alone",
    ),
    (
        "OTEL_EXPORTER_OTLP_PROTOCOL",
        "how spans are sent, also as `OTEL_EXPORTER_OTLP_TRACES_PROTOCOL`; what this build does not speak is refused at the start",
    ),
    (
        "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL",
        "the same, for spans alone",
    ),
    (
        "OTEL_EXPORTER_OTLP_CERTIFICATE",
        "a private root (PEM) that the collector's certificate may have, also as `OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE`",
    ),
    (
        "OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE",
        "the same, for spans alone",
    ),
    (
        "OTEL_TRACES_EXPORTER",
        "`otlp` sends spans to a collector on this machine, `none` sends none",
    ),
    (
        "OTEL_SDK_DISABLED",
        "`true`: no spans, whatever else is set",
    ),
    (
        "LISTEN_FDS",
        "with `LISTEN_PID`: sockets that a supervisor hands over, used in place of those that cambist.yaml names",
    ),
    (
        "LISTEN_FDNAMES",
        "what those sockets are for: `token`, `admin` and `admin-socket`; without it, in that order",
    ),
    (
        "NOTIFY_SOCKET",
        "where a supervisor is told that the process is ready, reloads or stops (systemd's `Type=notify-reload`)",
    ),
];

fn environment() -> Vec<Entry> {
    let own = ENVIRONMENT.iter().map(|(name, doc)| entry(name, doc));
    let named = entry(
        "any other",
        "read where cambist.yaml names it (`secret_env: NAME`), and nowhere else",
    );
    own.chain([named]).collect()
}
