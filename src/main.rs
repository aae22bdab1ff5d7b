//! pnwatch
fn main() {}
