//! The tables: every mapping of cambist.yaml, with its keys.

use super::{Default, Key, Kind, Map, Shape};
use crate::config::PRESETS;
use crate::jose::Algorithm;
use crate::oauth::claims::ClaimType;

const fn key(name: &'static str, kind: Kind, doc: &'static str) -> Key {
    Key {
        name,
        doc,
        kind,
        default: Default::Nothing,
        required: false,
        example: "",
    }
}

impl Key {
    const fn is(mut self, value: &'static str) -> Self {
        self.default = Default::Is(value);
        self
    }

    const fn follows(mut self) -> Self {
        self.default = Default::Follows;
        self
    }

    const fn required(mut self) -> Self {
        self.required = true;
        self
    }

    const fn example(mut self, example: &'static str) -> Self {
        self.example = example;
        self
    }
}

fn algorithms() -> Vec<&'static str> {
    Algorithm::ALL.iter().map(|alg| alg.as_str()).collect()
}

fn presets() -> Vec<&'static str> {
    PRESETS.iter().map(|preset| preset.name).collect()
}

fn claim_types() -> Vec<&'static str> {
    ClaimType::NAMES.iter().map(|(name, _)| *name).collect()
}

fn token_types() -> Vec<&'static str> {
    vec!["access_token", "jwt", "id_token", "refresh_token"]
}

fn audiences() -> Vec<&'static str> {
    vec!["client", "self", "any"]
}

fn scopes() -> Vec<&'static str> {
    vec!["claim", "none", "scope", "scp"]
}

const TEXTS: Kind = Kind::List(&Kind::Text);
const ALGORITHM: Kind = Kind::Table(algorithms);

/// The whole file.
pub static ROOT: Shape = Shape {
    name: "cambist",
    doc: "The configuration of Cambist: how the process listens and records, and its realm; or where its realms are.",
    keys: &[
        key(
            "server",
            Kind::Section(&SERVER),
            "The listener for clients. A change needs a restart where the log says so.",
        ),
        key(
            "admin",
            Kind::Section(&ADMIN),
            "The listener for operators: /metrics, /livez, /readyz, /status.",
        ),
        key(
            "audit",
            Kind::Section(&AUDIT),
            "Where the records of requests go, one line each; on standard output unless said.",
        ),
        key("metrics", Kind::Section(&METRICS), "What is counted beyond what always is."),
        key(
            "realms",
            Kind::Map(&REALMS),
            "Several realms: each has a directory with a cambist.yaml of its own, and none of its keys stand here.",
        )
        .example("{ corp: corp, shop: shop }"),
        key(
            "providers",
            Kind::Map(&DEFAULTS),
            "What every processor of a kind has unless it says otherwise.",
        )
        .example("{ mint: { lifetime: 2m } }"),
        key(
            "replay",
            Kind::Section(&REPLAY),
            "How much of what is good for one use is remembered.",
        ),
        key(
            "outbound",
            Kind::Section(&OUTBOUND),
            "Whom our own requests trust, and where they may go.",
        ),
        key(
            "issuer",
            Kind::Text,
            "Our issuer identifier (RFC 8414 section 2): a canonical https URI without a query.",
        )
        .example("https://as.example.com"),
        key(
            "token_path",
            Kind::Text,
            "The path of the token endpoint; by default `/token` below the issuer's path.",
        )
        .follows()
        .example("/token"),
        key(
            "hosts",
            TEXTS,
            "The `Host`s that the realm's endpoints answer; any, where it is not said.",
        )
        .example("[as.example.com]"),
        key(
            "keys",
            Kind::List(&Kind::Section(&SIGNING_KEY)),
            "Our signing keys: the first one signs, all are published.",
        )
        .example("[ { file: as.pem } ]"),
        key("key_rotation", Kind::Section(&ROTATION), "How a new key comes into use."),
        key(
            "issuers",
            Kind::Map(&ISSUERS),
            "Whose tokens are trusted, by the names that policies use. `self` is for our own tokens.",
        ),
        key("clients", Kind::Map(&CLIENTS), "Who may ask, by client id."),
        key(
            "client_attributes",
            Kind::Map(&ATTRIBUTE_TYPES),
            "The types of the clients' attributes; policies name them as `client.attr.NAME`.",
        )
        .example("{ tier: string }"),
        key(
            "resources",
            Kind::Map(&RESOURCES),
            "What tokens can be for: everything under a URI, its name in `aud`, the scopes it offers.",
        ),
        key(
            "processors",
            Kind::Map(&PROCESSORS),
            "What carries an exchange out, by the names that rules use.",
        )
        .example("{ mint: { provider: mint, lifetime: 5m } }"),
        key(
            "policies",
            TEXTS,
            "The policy files: names or patterns, `*.policy` or `*.policy.yaml`.",
        )
        .example("[\"*.policy\"]"),
        key(
            "accept_unknown",
            TEXTS,
            "Questions about the policies that may stay without an answer, by the names that E0902 gives.",
        )
        .example("[\"main.a and main.b\"]"),
    ],
};

static SERVER: Shape = Shape {
    name: "server",
    doc: "The listener for clients.",
    keys: &[
        key("listen", Kind::Text, "An IP address and a port.").is("127.0.0.1:8080"),
        key(
            "tls",
            Kind::List(&Kind::Section(&TLS)),
            "Certificates; of several, the one that fits the name that a client asks for.",
        )
        .example("{ cert_file: tls.crt, key_file: tls.key }"),
        key(
            "behind_tls",
            Kind::Flag,
            "A proxy before this listener ends TLS.",
        )
        .is("false"),
        key(
            "insecure_http",
            Kind::Flag,
            "Plain HTTP on an address that is not loopback: the network can see tokens.",
        )
        .is("false"),
        key(
            "trusted_proxies",
            TEXTS,
            "Networks whose word in X-Forwarded-For is taken for where a request comes from.",
        )
        .example("[10.0.0.0/8]"),
        key(
            "max_connections",
            Kind::Count(1, 1_000_000),
            "How many connections there may be at once.",
        )
        .is("10000"),
        key(
            "max_connections_per_peer",
            Kind::Count(1, 1_000_000),
            "How many of them from one address; by default a quarter.",
        )
        .follows(),
        key(
            "max_in_flight",
            Kind::Count(1, 100_000),
            "How many requests are worked on at once; further ones are answered 503.",
        )
        .is("512"),
        key(
            "header_timeout",
            Kind::Duration,
            "How long the head of a request may take, from 1s to 1h.",
        )
        .is("10s"),
        key(
            "body_timeout",
            Kind::Duration,
            "How long the body of a request may take, from 1s to 1h.",
        )
        .is("10s"),
        key(
            "request_timeout",
            Kind::Duration,
            "How long the answer to a request may take, from 1s to 1h.",
        )
        .is("30s"),
        key(
            "idle_timeout",
            Kind::Duration,
            "How long a connection may wait for its next request, from 1s to 1h.",
        )
        .is("75s"),
        key(
            "drain_delay",
            Kind::Duration,
            "How long the listener stays open after the process is told to stop, from 0s to 1h.",
        )
        .is("5s"),
    ],
};

static TLS: Shape = Shape {
    name: "certificate",
    doc: "A certificate and its key. New files are taken without a restart.",
    keys: &[
        key(
            "cert_file",
            Kind::Text,
            "The certificate and its chain, PEM.",
        )
        .required()
        .example("tls.crt"),
        key("key_file", Kind::Text, "The private key, PEM.").example("tls.key"),
        key(
            "key_env",
            Kind::Text,
            "The environment variable that holds the private key, in place of a file.",
        )
        .example("CAMBIST_TLS_KEY"),
    ],
};

static ADMIN: Shape = Shape {
    name: "admin",
    doc: "The listener for operators.",
    keys: &[
        key("listen", Kind::Text, "An IP address and a port.").is("127.0.0.1:9090"),
        key(
            "socket",
            Kind::Text,
            "A Unix socket for the same, beside the address.",
        )
        .example("admin.sock"),
        key("tls", Kind::List(&Kind::Section(&TLS)), "Certificates.")
            .example("{ cert_file: tls.crt, key_file: tls.key }"),
        key(
            "insecure_http",
            Kind::Flag,
            "Plain HTTP on an address that is not loopback: the network can see the tokens of admins.",
        )
        .is("false"),
        key(
            "hosts",
            TEXTS,
            "Further `Host`s that are answered, besides the address itself.",
        )
        .example("[ops.example.com]"),
        key(
            "tokens",
            Kind::Map(&ADMIN_TOKENS),
            "Who may ask, by name, with the bearer token of each; two during a rotation.",
        )
        .example("{ prometheus: { secret_file: admin.token } }"),
    ],
};

static ADMIN_TOKENS: Map = Map {
    doc: "whose token it is, as records call them",
    fixed: &[],
    value: Some(Kind::List(&Kind::Section(&SECRET))),
};

static SECRET: Shape = Shape {
    name: "secret",
    doc: "A secret, in one of three ways; never in clear in this file. `cambist secret new` draws one.",
    keys: &[
        key(
            "secret_sha256",
            Kind::Text,
            "The salted hash of the secret, as `cambist secret new` prints it.",
        ),
        key(
            "secret_file",
            Kind::Text,
            "A file that holds the secret in one line.",
        ),
        key(
            "secret_env",
            Kind::Text,
            "An environment variable that holds the secret.",
        ),
    ],
};

static AUDIT: Shape = Shape {
    name: "audit",
    doc: "Where the records of requests go.",
    keys: &[
        key("file", Kind::Text, "The file that records are appended to.").example("audit.jsonl"),
        key(
            "fsync",
            Kind::Flag,
            "No answer leaves before its record is on the disk.",
        )
        .is("false"),
        key(
            "redact",
            TEXTS,
            "Attributes whose values the records do not show.",
        )
        .example("[subject.sub]"),
    ],
};

static METRICS: Shape = Shape {
    name: "metrics",
    doc: "What is counted beyond what always is.",
    keys: &[key(
        "rules",
        Kind::Count(1, 10_000),
        "How many rules are counted one by one; none unless it is said.",
    )
    .example("500")],
};

static REALMS: Map = Map {
    doc: "the name of a realm, in metrics, records and logs",
    fixed: &[],
    value: Some(Kind::Text),
};

static REPLAY: Shape = Shape {
    name: "replay",
    doc: "How much of what is good for one use is remembered, in memory.",
    keys: &[
        key(
            "capacity",
            Kind::Count(1, 100_000_000),
            "For all clients together.",
        )
        .is("1000000"),
        key(
            "per_client",
            Kind::Count(1, 100_000_000),
            "For each client; by default a quarter of all.",
        )
        .follows(),
    ],
};

static OUTBOUND: Shape = Shape {
    name: "outbound",
    doc: "Whom our own requests trust, and where they may go.",
    keys: &[
        key(
            "ca_file",
            Kind::Text,
            "Private roots (PEM) that are trusted beside Mozilla's.",
        )
        .example("corp-ca.pem"),
        key(
            "allow_addresses",
            TEXTS,
            "Networks that are connected to although they are this machine's, the link's, or otherwise special.",
        )
        .example("[169.254.1.0/24]"),
    ],
};

static SIGNING_KEY: Shape = Shape {
    name: "signing_key",
    doc: "A signing key: a file, or one that is made anew at every start.",
    keys: &[
        key(
            "file",
            Kind::Text,
            "A private key, PKCS#8 PEM; `cambist keys new` makes one.",
        )
        .example("as.pem"),
        key(
            "env",
            Kind::Text,
            "The environment variable that holds a private key, PKCS#8 PEM.",
        )
        .example("CAMBIST_SIGNING_KEY"),
        key(
            "ephemeral",
            ALGORITHM,
            "Made anew at every start: for trying things out, on loopback.",
        ),
        key(
            "kid",
            Kind::Text,
            "Its name in tokens and in the published set; by default its thumbprint (RFC 7638).",
        ),
        key(
            "alg",
            ALGORITHM,
            "For which algorithm an RSA key is; RS256 unless said.",
        ),
    ],
};

static ROTATION: Shape = Shape {
    name: "key_rotation",
    doc: "How a new key comes into use.",
    keys: &[key(
        "publish_before_use",
        Kind::Duration,
        "How long a new key is published before it signs, at most 7d.",
    )
    .is("10m")],
};

static ISSUERS: Map = Map {
    doc: "what policies call the issuer",
    fixed: &[("self", Kind::Section(&OWN))],
    value: Some(Kind::Section(&ISSUER)),
};

static OWN: Shape = Shape {
    name: "self",
    doc: "Our own tokens, brought back.",
    keys: &[key(
        "audience",
        Kind::List(&Kind::Open(audiences)),
        "Whom they must be addressed to; the client that brings them, unless said.",
    )],
};

const DISCOVERY: Kind = Kind::Open(|| vec!["openid", "oauth"]);

static ISSUER: Shape = Shape {
    name: "issuer",
    doc: "An issuer whose tokens are trusted, and what they must be like.",
    keys: &[
        key(
            "preset",
            Kind::Table(presets),
            "What is known of a vendor; what is written here goes before it. `cambist reference NAME` shows it.",
        ),
        key("issuer", Kind::Text, "Its identifier: `iss`, byte for byte.")
            .example("https://idp.example.com"),
        key(
            "enabled",
            Kind::Flag,
            "`false`: its tokens are refused as a stranger's are; everything that names it still loads.",
        )
        .is("true"),
        key(
            "discovery",
            DISCOVERY,
            "Where its metadata is: `openid`, `oauth` (RFC 8414), or a URL. Its keys are where that says.",
        ),
        JWKS_URI,
        JWKS_FILE,
        JWKS,
        ALGORITHMS,
        FETCH,
        key(
            "introspection",
            Kind::Section(&INTROSPECTION),
            "Where it is asked about its tokens (RFC 7662).",
        ),
        key(
            "audience",
            Kind::List(&Kind::Open(audiences)),
            "Whom its tokens must be addressed to: `client` (that brings it), `self` (us), names, or `any`.",
        ),
        key(
            "scope",
            Kind::Open(scopes),
            "The claim that holds their scope; `claim` for `scope`, `none` where they have none.",
        ),
        key(
            "token_types",
            Kind::Either(&[
                Kind::List(&Kind::Open(token_types)),
                Kind::Map(&TOKEN_TYPES),
            ]),
            "What its tokens may be presented as, and what each must be like then.",
        )
        .is("[access_token, jwt]")
        .example("[access_token]"),
        key(
            "subjects",
            Kind::Words(&["local", "foreign"]),
            "Whether its subjects are ours; by default only where it is the one issuer.",
        ),
        key(
            "claims",
            Kind::Map(&CLAIMS),
            "The claims that policies may see, with their types; a `?` behind a name: it may be absent.",
        )
        .example("{ groups?: set<string>, level: string }"),
        key(
            "client_claim",
            TEXTS,
            "The claims that say which client a token was issued to; the first that is there counts.",
        )
        .is("[client_id, azp]"),
        key(
            "tenancy",
            Kind::Either(&[TEXTS, Kind::Map(&TENANTS)]),
            "The claims that tell the tenants of a shared issuer apart, and those that are ours; or `none`.",
        )
        .example("{ tid: [3c1e6f2a-0000-4000-8000-000000000000] }"),
        key(
            "act_namespace",
            TEXTS,
            "Other issuers whose parties its `act` may name.",
        ),
        key(
            "may_act_namespace",
            TEXTS,
            "Other issuers whose subjects its `may_act` may mean.",
        ),
        key(
            "leeway",
            Kind::Duration,
            "How far its clock may be ahead of ours, at most 300s; never for `exp`.",
        )
        .is("30s"),
        key(
            "without_exp",
            Kind::Duration,
            "How long an introspected token without `exp` counts as valid, from 1s to 1d; refused unless said.",
        ),
    ],
};

const JWKS_URI: Key = key(
    "jwks_uri",
    Kind::Text,
    "Where the keys are fetched from (https).",
)
.example("https://idp.example.com/keys");
const JWKS_FILE: Key = key(
    "jwks_file",
    Kind::Text,
    "A file that holds the keys (RFC 7517).",
)
.example("idp.jwks.json");
const JWKS: Key = key("jwks", Kind::Json, "The keys themselves (RFC 7517).")
    .example("{ keys: [ { kty: OKP, crv: Ed25519, kid: a, x: \"…\" } ] }");
const ALGORITHMS: Key = key(
    "algorithms",
    Kind::List(&ALGORITHM),
    "The algorithms that its keys may be for; all unless said.",
)
.example("[ES256]");
const FETCH: Key = key("fetch", Kind::Section(&FETCHING), "How keys are fetched.");

static FETCHING: Shape = Shape {
    name: "fetch",
    doc: "How keys are fetched.",
    keys: &[
        key(
            "refresh",
            Kind::Duration,
            "How often they are looked at again, from 60s to 1d.",
        )
        .is("10m"),
        key(
            "max_stale",
            Kind::Duration,
            "How long the last good set serves while they cannot be had, from 60s to 30d.",
        )
        .is("1d"),
        key(
            "timeout",
            Kind::Duration,
            "How long a look may take, from 1s to 30s.",
        )
        .is("3s"),
        key(
            "miss_interval",
            Kind::Duration,
            "How often at most a `kid` that nobody has seen causes a look, from 1s to 1h.",
        )
        .is("5s"),
    ],
};

static INTROSPECTION: Shape = Shape {
    name: "introspection",
    doc: "Where an issuer is asked about its tokens (RFC 7662), and how we say who we are.",
    keys: &[
        key("endpoint", Kind::Text, "The endpoint (https).")
            .required()
            .example("https://idp.example.com/introspect"),
        key(
            "insecure_http",
            Kind::Flag,
            "The endpoint may be plain HTTP beyond loopback: the network can see tokens.",
        )
        .is("false"),
        key("client_id", Kind::Text, "What we are called there."),
        key(
            "method",
            Kind::Words(&["client_secret_basic", "client_secret_post"]),
            "How we authenticate there.",
        )
        .is("client_secret_basic"),
        key(
            "secret_file",
            Kind::Text,
            "A file that holds our secret there, in one line.",
        ),
        key(
            "secret_env",
            Kind::Text,
            "An environment variable that holds it.",
        ),
        key(
            "unauthenticated",
            Kind::Flag,
            "The endpoint asks nobody who they are.",
        )
        .is("false"),
        key(
            "timeout",
            Kind::Duration,
            "How long an answer may take, at most 60s.",
        )
        .is("3s"),
    ],
};

static TOKEN_TYPES: Map = Map {
    doc: "a token type: access_token, jwt, id_token, refresh_token, or a URI",
    fixed: &[],
    value: Some(Kind::Section(&TOKEN_TYPE)),
};

static TOKEN_TYPE: Shape = Shape {
    name: "token_type",
    doc: "What tokens presented as this type must be like, where it differs from the issuer's others.",
    keys: &[
        key(
            "typ",
            TEXTS,
            "The values of the JOSE header `typ` that go with it; `absent` for none.",
        )
        .example("[JWT, at+jwt]"),
        key(
            "audience",
            Kind::List(&Kind::Open(audiences)),
            "Whom they must be addressed to.",
        ),
        key(
            "scope",
            Kind::Open(scopes),
            "The claim that holds their scope.",
        ),
        key(
            "by",
            Kind::Words(&["keys", "introspection"]),
            "How they are verified; JWTs by keys where there are any, unless said.",
        ),
    ],
};

static CLAIMS: Map = Map {
    doc: "the name of the claim in policies, with `?` where it may be absent",
    fixed: &[],
    value: Some(Kind::Either(&[
        Kind::Table(claim_types),
        Kind::Section(&CLAIM),
    ])),
};

static CLAIM: Shape = Shape {
    name: "claim",
    doc: "A claim that policies may see.",
    keys: &[
        key(
            "type",
            Kind::Table(claim_types),
            "The type that its values have.",
        )
        .required(),
        key(
            "at",
            Kind::Text,
            "Where it stands, as a JSON pointer (RFC 6901); under its name unless said.",
        )
        .example("/org/site"),
        key(
            "separators",
            Kind::Text,
            "The characters that a `*` in a pattern does not cross; `:/` unless said.",
        ),
    ],
};

static TENANTS: Map = Map {
    doc: "a declared claim of the issuer",
    fixed: &[],
    value: Some(TEXTS),
};

static CLIENTS: Map = Map {
    doc: "the client id",
    fixed: &[],
    value: Some(Kind::Section(&CLIENT)),
};

static CLIENT: Shape = Shape {
    name: "client",
    doc: "A client, and how it authenticates.",
    keys: &[
        key(
            "identifiers",
            TEXTS,
            "Further names of the client; rules and audiences may use any of them.",
        )
        .example("[https://frontend.example.com]"),
        key(
            "enabled",
            Kind::Flag,
            "`false`: it is refused; rules may still name it.",
        )
        .is("true"),
        key(
            "auth",
            Kind::Map(&AUTH),
            "How it authenticates: by exactly the methods that stand here.",
        )
        .required()
        .example("{ client_secret_basic: { secret_file: web.secret } }"),
        key(
            "attributes",
            Kind::Map(&ATTRIBUTES),
            "Values of declared attributes; policies name them as `client.attr.NAME`.",
        ),
    ],
};

static AUTH: Map = Map {
    doc: "a client authentication method",
    fixed: &[
        ("client_secret_basic", Kind::List(&Kind::Section(&SECRET))),
        ("client_secret_post", Kind::List(&Kind::Section(&SECRET))),
        ("private_key_jwt", Kind::Section(&ASSERTIONS)),
        ("none", Kind::Section(&PUBLIC)),
    ],
    value: None,
};

static PUBLIC: Shape = Shape {
    name: "public",
    doc: "A public client: anybody can say to be it.",
    keys: &[],
};

static ASSERTIONS: Shape = Shape {
    name: "private_key_jwt",
    doc: "A client that signs a JWT for each request (RFC 7523); only its public keys lie here.",
    keys: &[
        JWKS_URI,
        JWKS_FILE,
        JWKS,
        ALGORITHMS,
        FETCH,
        key(
            "max_lifetime",
            Kind::Duration,
            "How long an assertion may live, at most 1h.",
        )
        .is("5m"),
        key(
            "leeway",
            Kind::Duration,
            "How far the client's clock may be ahead of ours, at most 60s.",
        )
        .is("5s"),
        key(
            "legacy_audience",
            Kind::Words(&["token_endpoint"]),
            "What else an assertion may be addressed to, for clients that do not know our issuer identifier.",
        ),
    ],
};

static ATTRIBUTE_TYPES: Map = Map {
    doc: "the name of the attribute",
    fixed: &[],
    value: Some(Kind::Table(claim_types)),
};

static ATTRIBUTES: Map = Map {
    doc: "a declared attribute",
    fixed: &[],
    value: Some(TEXTS),
};

static RESOURCES: Map = Map {
    doc: "the name of the resource",
    fixed: &[],
    value: Some(Kind::Section(&RESOURCE)),
};

static RESOURCE: Shape = Shape {
    name: "resource",
    doc: "What tokens can be for.",
    keys: &[
        key(
            "under",
            Kind::Text,
            "The canonical URI that everything of it is under.",
        )
        .required()
        .example("https://backend.example.com"),
        key("audience", Kind::Text, "Its name in `aud`.")
            .required()
            .example("https://backend.example.com"),
        key("scopes", TEXTS, "The scopes that it offers.").example("[api]"),
    ],
};

static PROCESSORS: Map = Map {
    doc: "what rules call the processor",
    fixed: &[],
    value: Some(Kind::Processor),
};

/// Each kind of provider, and the keys of its processors besides `provider`.
pub static PROVIDERS: &[(&str, &Shape)] = &[("mint", &MINT)];

static DEFAULTS: Map = Map {
    doc: "a kind of provider",
    fixed: &[("mint", Kind::Section(&MINT))],
    value: None,
};

static MINT: Shape = Shape {
    name: "mint",
    doc: "Makes a JWT access token of this realm's own (RFC 9068).",
    keys: &[
        LIFETIME,
        MAX_LIFETIME,
        key(
            "alg",
            ALGORITHM,
            "The algorithm of the key that signs; the first key's unless said.",
        ),
    ],
};

const LIFETIME: Key = key(
    "lifetime",
    Kind::Duration,
    "How long what it makes lives, unless a rule says otherwise.",
)
.is("1m");
const MAX_LIFETIME: Key = key(
    "max_lifetime",
    Kind::Duration,
    "The longest that a rule may say.",
)
.is("1h");
