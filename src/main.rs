//! The `hookswitch` binary.

use std::process::ExitCode;

fn main() -> ExitCode {
    hookswitch::cli::main()
}
