//! The kubetether command.

fn main() {}
