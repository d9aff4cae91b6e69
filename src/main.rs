//! The `hookswitch` binary.

use std::process::ExitCode;

/// A callback makes many small allocations that other threads free, where the system allocator is slow
/// (benches/README.md).
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    hookswitch::cli::main()
}
