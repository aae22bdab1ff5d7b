//! The three patch languages that clients use, as pure functions over JSON values.
//!
//! JSON Patch (RFC 6902) is not spoken: nothing in the project sends it.

pub(crate) mod apply;
pub(crate) mod fields;
pub(crate) mod merge;
pub(crate) mod schema;
pub(crate) mod strategic;

#[cfg(test)]
mod tests;
