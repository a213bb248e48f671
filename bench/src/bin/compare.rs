//! `compare`: see README.md of this folder.

use std::fs;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand};
use kms::cli::pki::KeyKind;
use kms_bench::environment::Environment;
use kms_bench::peers::Site;
use kms_bench::place;
use kms_bench::rounds::Settings;
use kms_bench::rows::{self, Options, Row};
use kms_bench::table::{Report, Verdict};

/// Compares kms with its peers on this machine. bench/README.md explains the rows.
#[derive(Parser)]
#[command(name = "compare")]
struct Arguments {
    /// Rows to run.
    #[arg(
        long,
        value_delimiter = ',',
        ignore_case = true,
        default_value = "P1,P2,P3,P4,P5,P6,P7,P8,P9,P10,P11,P12,VAULT"
    )]
    rows: Vec<Row>,
    /// Alternating rounds.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..=1000))]
    rounds: u16,
    /// Milliseconds of one run.
    #[arg(long, default_value_t = 2500, value_parser = clap::value_parser!(u64).range(100..=600_000))]
    duration_ms: u64,
    /// Data keys of rows P1 to P4 and P12.
    #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    data_keys: u32,
    /// Data keys of row P8.
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u32).range(2_000..=10_000_000))]
    memory_keys: u32,
    /// Connections of row P9.
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(100..=1_000_000))]
    idle_connections: u32,
    /// A sanity run of seconds: its figures prove nothing.
    #[arg(long)]
    quick: bool,
    /// Folder for compare.md and compare.json.
    #[arg(long, default_value = "target/bench")]
    out: PathBuf,
    #[command(subcommand)]
    command: Option<Internal>,
}

#[derive(Subcommand)]
enum Internal {
    /// The bare echo of row P2, in its own process.
    #[command(hide = true)]
    Echo {
        #[arg(long)]
        address: SocketAddr,
        #[arg(long)]
        folder: PathBuf,
    },
    /// The handshake storm of row P7, in its own process.
    #[command(hide = true)]
    Storm {
        #[arg(long)]
        address: SocketAddr,
        #[arg(long)]
        folder: PathBuf,
        #[arg(long)]
        at_once: usize,
    },
}

type Failure = Box<dyn std::error::Error>;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let done = match &arguments.command {
        Some(Internal::Echo { address, folder }) => echo(*address, folder).map(|()| true),
        Some(Internal::Storm {
            address,
            folder,
            at_once,
        }) => kms_bench::handshakes::storm(*address, folder, *at_once).map(|()| true),
        None => compare(&arguments),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            let _ = writeln!(io::stderr(), "compare: {error}");
            ExitCode::from(2)
        }
    }
}

fn echo(address: SocketAddr, folder: &Path) -> Result<(), Failure> {
    let answer = fs::read(folder.join("answer"))?;
    Ok(kms_bench::echo::serve(address, folder, &answer)?)
}

/// True when no target was missed. What could not be run is told, and is no miss.
fn compare(arguments: &Arguments) -> Result<bool, Failure> {
    let options = options(arguments);
    let mut report = Report {
        environment: Environment::now(),
        settings: options.settings,
        data_keys: options.data_keys,
        cipher_suite: format!("{:?}", kms_loadgen::target::CIPHER_SUITE),
        servers: Vec::new(),
        notes: Vec::new(),
        judged: Vec::new(),
        series: Vec::new(),
        memory: None,
        ttlv: None,
    };
    if report.environment.cores < 2 {
        return Err("two cores are needed: one for the server, one for the client".into());
    }
    if arguments.quick {
        report
            .notes
            .push("`--quick`: a sanity run, no measurement".into());
    }
    let stolen = kms_loadgen::cpu::stolen()?;
    place::pin(place::CLIENT_CORE)?;
    place::raise_locked_memory_limit();
    measure(&options, &mut report)?;
    report.environment.finish(stolen);
    let markdown = report.markdown();
    fs::create_dir_all(&arguments.out)?;
    fs::write(arguments.out.join("compare.md"), &markdown)?;
    fs::write(
        arguments.out.join("compare.json"),
        serde_json::to_vec_pretty(&report)?,
    )?;
    io::stdout().write_all(markdown.as_bytes())?;
    Ok(report
        .judged
        .iter()
        .all(|judged| !matches!(judged.verdict, Verdict::Miss | Verdict::Invalid)))
}

/// Every wanted row, one after the other.
fn measure(options: &Options, report: &mut Report) -> Result<(), Failure> {
    let site = Site::new(KeyKind::P256)?;
    if options
        .rows
        .iter()
        .any(|row| matches!(row, Row::P1 | Row::P2 | Row::P3 | Row::P4))
    {
        rows::speed::run(&site, options, report)?;
    }
    if options.rows.contains(&Row::P5) {
        rows::hsm::pool(&site, options, report)?;
    }
    if options.rows.contains(&Row::P6) {
        rows::hsm::lone(&site, options, report)?;
    }
    if options.rows.contains(&Row::P7) {
        rows::handshakes::run(options, report)?;
    }
    if options.rows.contains(&Row::P8) {
        rows::memory::run(&site, options, report)?;
    }
    if options.rows.contains(&Row::P9) {
        rows::idle::run(&site, options, report)?;
    }
    if options.rows.contains(&Row::P10) {
        rows::start::run(&site, options, report)?;
    }
    if options.rows.contains(&Row::P11) {
        rows::ttlv(report)?;
    }
    if options.rows.contains(&Row::P12) {
        rows::batch::run(&site, options, report)?;
    }
    if options.rows.contains(&Row::Vault) {
        rows::vault::run(&site, options, report)?;
    }
    Ok(())
}

fn options(arguments: &Arguments) -> Options {
    let ms = Duration::from_millis;
    let full = Options {
        rows: arguments.rows.clone(),
        settings: Settings {
            rounds: arguments.rounds.into(),
            duration: ms(arguments.duration_ms),
            warm_up: ms(300),
        },
        jit_warm_up: Duration::from_secs(20),
        data_keys: arguments.data_keys as usize,
        memory_entries: arguments.memory_keys as usize,
        idle_connections: arguments.idle_connections as usize,
    };
    if !arguments.quick {
        return full;
    }
    Options {
        settings: Settings {
            rounds: 2,
            duration: ms(400),
            warm_up: ms(100),
        },
        jit_warm_up: Duration::from_secs(2),
        data_keys: full.data_keys.min(2_000),
        memory_entries: full.memory_entries.min(20_000),
        idle_connections: full.idle_connections.min(500),
        ..full
    }
}
