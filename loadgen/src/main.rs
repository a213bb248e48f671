//! `kms-loadgen`: see README.md of this folder.

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use kms_loadgen::cli;
use kms_loadgen::sim::cli::HsmSim;
use kms_loadgen::stream::Uniform;
use kms_loadgen::transit::Transit;
use kms_loadgen::{Driver, Outcome, Plan, Target, Until};

/// Loads a Transit server over mutual TLS, or simulates an HSM behind one. loadgen/README.md explains both.
#[derive(Parser)]
#[command(name = "kms-loadgen", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Wraps random data keys, then unwraps them at random in a closed loop.
    Run(Run),
    HsmSim(Box<HsmSim>),
    Report(cli::report::Report),
    Merge(cli::merge::Merge),
    Compare(cli::compare::Compare),
}

#[derive(Args)]
struct Run {
    /// Address and port of the service.
    #[arg(long, default_value = "127.0.0.1:8443")]
    address: SocketAddr,
    /// Name expected in the server's certificate.
    #[arg(long, default_value = "localhost")]
    server_name: String,
    /// PEM file of the authority that vouches for the server.
    #[arg(long)]
    ca: PathBuf,
    /// PEM file of the client certificate and its chain.
    #[arg(long)]
    cert: PathBuf,
    /// PEM file of its private key.
    #[arg(long)]
    key: PathBuf,
    /// Sent as X-Vault-Token; a server that knows clients by certificate ignores it.
    #[arg(long)]
    token: Option<String>,
    /// The Transit key, which must exist.
    #[arg(long, default_value = "demo")]
    transit_key: String,
    /// Data keys wrapped beforehand and unwrapped at random.
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    data_keys: u32,
    /// Keep-alive connections.
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..=10_000))]
    connections: u16,
    /// Requests in flight on each.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=256))]
    depth: u16,
    /// Seconds to run.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    duration_s: u64,
    /// Seed of the data keys and of their order.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

fn main() -> ExitCode {
    let run = match Arguments::parse().command {
        Command::Run(run) => run,
        Command::HsmSim(sim) => return exit(sim.execute()),
        Command::Report(report) => return exit(report.execute()),
        Command::Merge(merge) => return exit(merge.execute()),
        Command::Compare(compare) => return exit(compare.execute()),
    };
    let (text, code) = match execute(&run) {
        Ok((text, clean)) => (
            text,
            if clean {
                ExitCode::SUCCESS
            } else {
                ExitCode::FAILURE
            },
        ),
        Err(error) => return fail(&error.to_string()),
    };
    let _ = io::stdout().write_all(text.as_bytes());
    code
}

fn exit(done: Result<bool, String>) -> ExitCode {
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => fail(&error),
    }
}

fn fail(error: &str) -> ExitCode {
    let _ = writeln!(io::stderr(), "kms-loadgen: {error}");
    ExitCode::from(2)
}

/// The report, and whether every answer was right.
fn execute(run: &Run) -> Result<(String, bool), Box<dyn std::error::Error>> {
    let target = Target::from_pem(run.address, &run.server_name, &run.ca, &run.cert, &run.key)?;
    let transit = Transit {
        target: &target,
        key: &run.transit_key,
        token: run.token.as_deref(),
    };
    let exchanges = transit.unwraps(run.seed, run.data_keys as usize)?;
    let mut order = Uniform::new(run.seed, exchanges.len()).ok_or("no data keys")?;
    let mut driver = Driver::connect(&target, run.connections.into())?;
    let until = Until::Elapsed(Duration::from_secs(run.duration_s));
    let outcome = driver.run(
        &exchanges,
        &mut order,
        Plan {
            depth: run.depth.into(),
            until,
        },
    )?;
    let text = if run.json {
        serde_json::to_string_pretty(&outcome.figures())? + "\n"
    } else {
        table(&outcome)?
    };
    Ok((text, outcome.is_clean()))
}

fn table(outcome: &Outcome) -> Result<String, std::fmt::Error> {
    let figures = outcome.figures();
    let mut text = String::new();
    writeln!(
        text,
        "closed loop, {} answers in {:.1} s",
        figures.answers, figures.elapsed_s
    )?;
    writeln!(
        text,
        "rate       {:>10.0} requests/s",
        figures.requests_per_s
    )?;
    for (name, value) in [
        ("p50", figures.p50_us),
        ("p90", figures.p90_us),
        ("p99", figures.p99_us),
        ("p99.9", figures.p999_us),
        ("max", figures.max_us),
        ("client CPU", figures.client_cpu_us),
    ] {
        writeln!(text, "{name:<10} {value:>10.1} us")?;
    }
    for (status, count) in &figures.statuses {
        writeln!(text, "status {status} {count:>10}")?;
    }
    writeln!(text, "wrong      {:>10}", figures.wrong)?;
    writeln!(
        text,
        "lost       {:>10} connections",
        figures.failed_connections
    )?;
    Ok(text)
}
