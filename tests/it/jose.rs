//! Signed tokens: vectors made by others, and the attacks of the past.

mod attacks;
mod vectors;
