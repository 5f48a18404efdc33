//! The in-cluster process.

fn main() {}
