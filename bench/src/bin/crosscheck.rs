//! Holds kms-loadgen against ab and oha: `cargo run --release -p kms-bench --bin crosscheck`.
#![allow(clippy::print_stdout)]

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use kms_bench::crosscheck;
use kms_bench::environment::Environment;
use kms_bench::place::{CLIENT_CORE, pin, raise_locked_memory_limit};
use kms_bench::readme::put_table;
use kms_bench::rounds::Settings;

/// kms-loadgen against ab (closed loop) and oha (open loop) at the same server, and its own speed. bench/README.md
/// explains it. Exit codes: 0 all agree, 1 one differs, is missing or is not believed.
#[derive(Parser)]
struct Arguments {
    /// Rounds.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..=1000))]
    rounds: u16,
    /// Seconds of one run.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=600))]
    duration_s: u64,
    /// File whose marked block gets the tables as well: bench/README.md.
    #[arg(long)]
    readme: Option<PathBuf>,
}

fn main() -> Result<ExitCode, Box<dyn std::error::Error>> {
    let arguments = Arguments::parse();
    // Before this process is pinned: the machine has more cores than that one.
    let environment = Environment::now();
    raise_locked_memory_limit();
    pin(CLIENT_CORE)?;
    let settings = Settings {
        rounds: usize::from(arguments.rounds),
        duration: Duration::from_secs(arguments.duration_s),
        warm_up: Duration::from_millis(200),
    };
    let others = crosscheck::measure(&settings)?;
    let speed = crosscheck::measure_speed(&settings)?;
    let tables = format!("{}\n{}", others.table(), speed.table);
    print!("{tables}");
    if let Some(readme) = &arguments.readme {
        put_table(readme, "crosscheck", &environment, &tables)?;
    }
    let is_good = others.is_good() && speed.is_good;
    Ok(ExitCode::from(u8::from(!is_good)))
}
