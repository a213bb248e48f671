//! Prints what messages under way together gain: `cargo run --release -p kms-bench --bin pipeline`.

use clap::Parser;
use kms_bench::program::{self, run};

/// Unwraps a second with `kms.hsm.kmip.pipeline.max` at 1 and above. bench/README.md explains it.
#[derive(Parser)]
struct Arguments {
    #[command(flatten)]
    rounds: program::Arguments,
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments = Arguments::parse();
    run("pipeline", &arguments.rounds, kms_bench::pipeline::measure)
}
