//! Prints what a shared cache saves: `cargo run --release -p kms-bench --bin cluster`.
#![allow(clippy::print_stdout)]

use std::time::Duration;

use clap::Parser;

/// Three nodes before a simulated HSM with and without a shared cache on Redis. bench/README.md explains it.
#[derive(Parser)]
struct Arguments {
    /// Milliseconds of one run.
    #[arg(long, default_value_t = 5000, value_parser = clap::value_parser!(u64).range(1000..=600_000))]
    duration_ms: u64,
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments = Arguments::parse();
    kms_bench::place::raise_locked_memory_limit();
    let duration = Duration::from_millis(arguments.duration_ms);
    print!("{}", kms_bench::cluster::measure(duration)?);
    Ok(())
}
