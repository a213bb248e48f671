//! Prints what messages under way together gain: `cargo run --release -p kms-bench --bin pipeline`.
#![allow(clippy::print_stdout)]

use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;
use kms_bench::environment::Environment;
use kms_bench::readme::put_table;
use kms_bench::rounds::Settings;

/// Unwraps a second with `kms.hsm.kmip.pipeline.max` at 1 and above. bench/README.md explains it.
#[derive(Parser)]
struct Arguments {
    /// Rounds, in each of which every setting has its turn.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..=1000))]
    rounds: u16,
    /// Milliseconds of one run.
    #[arg(long, default_value_t = 2000, value_parser = clap::value_parser!(u64).range(100..=600_000))]
    duration_ms: u64,
    /// File whose marked block gets the table as well: bench/README.md.
    #[arg(long)]
    readme: Option<PathBuf>,
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments = Arguments::parse();
    kms_bench::place::raise_locked_memory_limit();
    let settings = Settings {
        rounds: usize::from(arguments.rounds),
        duration: Duration::from_millis(arguments.duration_ms),
        warm_up: Duration::from_millis(200),
    };
    let environment = Environment::now();
    let table = kms_bench::pipeline::measure(&settings)?;
    print!("{table}");
    if let Some(readme) = &arguments.readme {
        put_table(readme, "pipeline", &environment, &table)?;
    }
    Ok(())
}
