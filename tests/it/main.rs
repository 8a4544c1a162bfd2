//! Tests of the public interface.

#[cfg(test)]
mod jose;
#[cfg(test)]
mod policy;
