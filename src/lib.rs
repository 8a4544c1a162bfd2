//! Cambist, a policy-driven token exchange gateway: the map of the house.
//!
//! # Bird's-eye view
//!
//! A client brings a token and asks for another (OAuth 2.0 Token Exchange, RFC 8693). The request is
//! parsed ([`oauth`]), its client authenticated ([`client`]), its subject token verified ([`token`]);
//! the three make a [`context`]. The [`policy`] decides: exactly one processor, or a refusal. The
//! processor ([`provider`]) makes the token, the permit confines it, the audit records it, and only
//! then it leaves. [`exchange::exchange`] is that road; read it first. [`config::load`] is the other
//! one: files to one immutable [`snapshot`], or every problem.
//!
//! # Floors
//!
//! A module may use anything on a lower floor, and on its own floor only what stands to its left.
//! `tests/it/floors.rs` reads this list and the sources, and fails where they differ.
//!
//! ```text
//! 5  audit   server   admin   reload   run   demo   cli    the edges: sockets, files changing, commands
//! 4  exchange   config                                     the two straight lines
//! 3  snapshot                                              what the two lines share
//! 2  store   services   keys   token   client   provider  the open sets
//! 1  clock   swap   metrics   trace   net   tls   system   section   jose   policy  one pure engine and small tools
//! 0  oauth   proof   diagnostic   context                  the vocabulary
//! ```
//!
//! # Who may not know what
//!
//! **Invariant:** each of these is an absence that one can grep for; the same test does.
//! - `policy` knows no provider, no network, no clock and no YAML. Time reaches it as `context.now`.
//! - [`policy::prove`] answers for every request or shows one; what it shows, the evaluator has confirmed. Only its
//!   `solve` knows `batsat`.
//! - Only `section` knows `serde_yaml`, only `swap` knows `arc_swap`, only `reload` knows `notify`, only
//!   `metrics` knows `prometheus`, only `trace` knows `opentelemetry`, only `policy::syntax` knows `pest`,
//!   only `jose` knows `jsonwebtoken`, only `system` knows `sd_notify`, only `net` and `tls` know `rustls`;
//!   only `server`, `admin`, `demo` and `net` know `hyper`.
//! - `Verified::assertion` is called in a handful of files: `rg '::assertion\('` is the security
//!   review's table of contents.
//! - A policy cannot name a raw token: `RawToken` has no entry in `ATTRIBUTES`.
//! - A provider never decides whether; a predicate never fails; a snapshot never changes; loading never
//!   touches the network.
//!
//! # RFC → file
//!
//! | source | where |
//! |---|---|
//! | RFC 6749 §2.3, §3.2, §5 | [`client`], [`oauth::form`], [`oauth::error`], `server::respond` |
//! | RFC 7515, 7517, 7518, 7638, 8037, 8725 | [`jose`] |
//! | RFC 7519 §4, RFC 9068 §4 | `token::party`, `token::jwt` |
//! | RFC 7521 §4.2, RFC 7523 §2.2, §3 | `client::private_key_jwt`, [`store`] |
//! | RFC 7662 | `token::introspect` |
//! | RFC 7517 §5, RFC 9111 §5.2 | [`keys`] |
//! | RFC 8414 | `config::realm`; §3 of others: `config::issuers`, [`keys`] |
//! | RFC 8693 §2.1, §2.2, §3 | [`oauth::request`], [`oauth::response`], [`oauth::token_type`] |
//! | RFC 8693 §4 | [`oauth::claims`], `context::delegation`, [`policy::decide`] |
//! | RFC 8707 §2, RFC 3986 | [`oauth::target`], [`oauth::uri`] |
//! | RFC 9068 §2 | `provider::mint` |
//! | RFC 9112 §3.2, RFC 9113 §8.3.1 | `server` (which host), `server::front` (limits, deadlines) |
//! | RFC 7301, certificates | [`tls`] |
//! | W3C Trace Context | [`trace`] |
//! | W3C Trace Context §3.2 | [`trace`] |

// ── 0  the vocabulary: no I/O, no clock, no YAML, no hyper
pub mod oauth;

pub mod proof;

pub mod diagnostic;

pub mod context;

// ── 1  the engine and the tools
pub mod clock;

pub mod swap;

pub mod metrics;

pub mod trace;

pub mod net;

pub mod tls;

pub mod system;

pub mod section;

pub mod jose;

pub mod policy;

// ── 2  the open sets: a contract, a table, one file per kind
pub mod store;

pub mod services;

pub mod keys;

pub mod token;

pub mod client;

pub mod provider;

// ── 3
pub mod snapshot;

// ── 4  the two straight lines
pub mod exchange;

pub mod config;

// ── 5  the edges
pub mod audit;

pub mod server;

pub mod admin;

pub mod reload;

pub mod run;

pub mod demo;

pub mod cli;
