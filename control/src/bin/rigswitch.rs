//! The `rigswitch` command.

fn main() {}
