//! What the programs share that measure in alternating rounds and print one table: their flags, and where it goes.
//!
//! Must never be true: a table in the README that was not printed.
#![allow(clippy::print_stdout)]

use std::error::Error;
use std::path::PathBuf;
use std::time::Duration;

use crate::environment::Environment;
use crate::place::raise_locked_memory_limit;
use crate::readme::put_table;
use crate::rounds::Settings;
use crate::server::StartError;

/// Flags.
#[derive(clap::Args, Debug)]
pub struct Arguments {
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

/// Measures, prints the table, and writes it into the README's block `name` if that was asked for.
pub fn run(
    name: &str,
    arguments: &Arguments,
    measure: impl FnOnce(&Settings) -> Result<String, StartError>,
) -> Result<(), Box<dyn Error>> {
    raise_locked_memory_limit();
    let settings = Settings {
        rounds: usize::from(arguments.rounds),
        duration: Duration::from_millis(arguments.duration_ms),
        warm_up: Duration::from_millis(200),
    };
    let environment = Environment::now();
    let table = measure(&settings)?;
    print!("{table}");
    if let Some(readme) = &arguments.readme {
        put_table(readme, name, &environment, &table)?;
    }
    Ok(())
}
