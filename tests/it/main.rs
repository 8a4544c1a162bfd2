//! Tests of the public interface: one binary, linked once.

// The mirror of the map in `src/lib.rs`.
#[cfg(test)]
mod floors;

// Over the tables: grants, methods, providers, attributes, metrics.
#[cfg(test)]
mod registry;

// Tokens: public vectors, past incidents.
#[cfg(test)]
mod jose;

// Directories → snapshots or findings.
#[cfg(test)]
mod config;

// What is said of cambist.yaml and its keys, held against those who read them.
#[cfg(test)]
mod schema;

// Findings as people and machines get them.
#[cfg(test)]
mod findings;

// What the program does besides serving, run as a user runs it.
#[cfg(test)]
mod verbs;

// What follows a change on disk.
#[cfg(test)]
mod reload;

// Our own keys over time.
#[cfg(test)]
mod rotation;

// Everything in `policies/` and `examples/` loads; the demonstration runs.
#[cfg(test)]
mod examples;

// What our pages show loads too.
#[cfg(test)]
mod documents;

// Policy text → tree → rules → decisions, and what holds for all of them.
#[cfg(test)]
mod policy;

// Trees ⇄ text ⇄ YAML; `cambist fmt`.
#[cfg(test)]
mod fmt;

// A gateway in this process, issuers that sign, an introspection endpoint that obeys.
#[cfg(test)]
mod support;

// Bytes → bytes, with `data/wire/**.http`.
#[cfg(test)]
mod wire;

// Keys that are fetched: faults, floods, rotation, discovery.
#[cfg(test)]
mod keys;

// Exchanges over HTTP, one file per concern.
#[cfg(test)]
mod exchange;

// Logs, metrics and traces of the real binary; rules and dashboards over them.
#[cfg(test)]
mod seeing;

// What went wrong elsewhere, tried here; and that nothing on the list is without a test.
#[cfg(test)]
mod security;

// Realms, listeners, limits, reloads, the admin API, the life of a process.
#[cfg(test)]
mod operations;
