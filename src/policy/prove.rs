//! Proofs: whether something holds of every request, or the request of which it does not.
mod ask;
mod domain;
mod formula;
mod hours;
mod lower;
mod model;
mod solve;
mod text;
mod uris;
mod witness;
