//! The `rigswitch` command.

use std::process::ExitCode;

fn main() -> ExitCode {
    rigswitch::cli::main()
}
