//! Strict JOSE.
