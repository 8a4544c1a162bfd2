//! The YAML spelling of a policy: the same tree as the text, with the structure in YAML and what is
//! said (conditions, claims, the values of parameters, the values of tests) as text of the language.
//!
//! ```yaml
//! policy: 1
//! module: prod
//! imports:
//!   common: ['@strong', stepped_up]
//! lists:
//!   '@purposes': { doc: What tokens are for., type: string, members: [checkout, refund] }
//! defs:
//!   recent: subject.auth_age <= 5m
//!   office: { doc: In the house., when: ['conn.ip in ["10.0.0.0/8"]', recent] }
//! rules:
//!   orders-to-payments:
//!     doc: Microservice chain; user stays in sub.
//!     from: [corp, { partner: id_token }]         # or: any issuer
//!     by: { client: { like: 'agent-*' } }         # or: any client, { client: '@list' }
//!     to: { resource: { under: [https://a.example, https://b.example] }, audience: x }
//!     actor: { named: [agent-idp], may_act: ignored }
//!     when: ['scope only ["payments:read"]', recent]
//!     use: { mint: { scope: requested & subject.scope } }
//! denies:
//!   closed: { because: at night, when: ['not office'] }
//! tests:
//!   - name: it works
//!     given: { client.id: '"orders"', subject: 'corp { sub: "alice" }' }
//!     expect: { use: mint, by: orders-to-payments, issued: { lifetime: 5m } }
//!   - name: it does not
//!     expect: { refuse: any, by: closed }
//! proofs:
//!   - name: no admin scopes
//!     prove: ['never issue scope like "admin:**"', reachable all]
//! ```
//!
//! A list under `when` means `and`; `to` takes a list for `or`. `'@x'` alone is a list of the policy; a
//! string that begins with `@` is written `{ string: '@x' }`. Members of a list are strings, but text of
//! the language where the list's type is one of [`LITERAL_TYPES`]; `{ literal: '5m' }` is that anywhere.
//! Clauses are keys, so that a rule has each of them once. `actor: { is: client, may_act: ignored }` is
//! the form of `actor client` with more behind it.
//!
//! **Lossless**: [`read`] of what [`write()`] gives is [`normal`] of what was written, `##` documentation
//! included. Plain comments are not part of a tree and do not survive; neither do `##` comments that
//! document no item.

mod read;
mod write;

pub use read::read;
pub use write::{normal, write};

use std::sync::Arc;

use crate::section;

/// The types of lists whose members are text of the language: `5m`, `12`, `true`.
pub const LITERAL_TYPES: [&str; 4] = ["int", "bool", "duration", "instant"];

/// Whether a text has plain comments, if it is YAML at all.
#[must_use]
pub fn has_comments(file: &Arc<str>, text: &str) -> bool {
    section::parse(file, text).is_ok_and(|node| node.has_comments(text))
}
