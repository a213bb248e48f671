//! Prints what the simulated HSM can do: `cargo run --release -p kms-bench --bin simulator`.

use clap::Parser;
use kms_bench::program::{self, run};

/// Unwraps a second of the simulated HSM without delays. bench/README.md explains it.
#[derive(Parser)]
struct Arguments {
    #[command(flatten)]
    rounds: program::Arguments,
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments = Arguments::parse();
    run(
        "simulator",
        &arguments.rounds,
        kms_bench::simulator::measure,
    )
}
