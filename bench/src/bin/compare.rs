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
use kms_bench::progress::say;
use kms_bench::rounds::Settings;
use kms_bench::rows::{self, Options, Row};
use kms_bench::table::{Report, Verdict};

/// Compares kms with its peers on this machine. bench/README.md explains the rows.
#[derive(Parser)]
#[command(name = "compare")]
struct Arguments {
    /// Rows to run; all when none is named.
    #[arg(long, value_delimiter = ',', ignore_case = true)]
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
    /// File whose marked blocks get the tables as well: bench/README.md. Of P1 to P4, all are run then.
    #[arg(long)]
    readme: Option<PathBuf>,
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
        is_quick: arguments.quick,
        remarks: Vec::new(),
        judged: Vec::new(),
        series: Vec::new(),
        memory: None,
        ttlv: None,
    };
    if report.environment.cores < 2 {
        return Err("two cores are needed: one for the server, one for the client".into());
    }
    if arguments.quick {
        report.note("", "`--quick`: a sanity run, no measurement".into());
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
    if let Some(readme) = &arguments.readme {
        let mut rows: Vec<&str> = options.rows.iter().map(|row| row.name()).collect();
        if options.rows.iter().any(|row| row.is_of_speed()) {
            rows.push(rows::speed::ROWS);
        }
        kms_bench::readme::put(readme, &rows, &report.lines())?;
    }
    Ok(report
        .judged
        .iter()
        .all(|judged| !matches!(judged.verdict, Verdict::Miss | Verdict::Invalid)))
}

/// Every wanted row, one after the other; P1 to P4 together.
fn measure(options: &Options, report: &mut Report) -> Result<(), Failure> {
    let site = Site::new(KeyKind::P256)?;
    if options.rows.iter().any(|row| row.is_of_speed()) {
        say(rows::speed::ROWS);
        rows::speed::run(&site, options, report)?;
    }
    for row in Row::all() {
        if row.is_of_speed() || !options.rows.contains(row) {
            continue;
        }
        say(row.name());
        match row {
            Row::P1 | Row::P2 | Row::P3 | Row::P4 => {}
            Row::P5 => rows::hsm::pool(&site, options, report)?,
            Row::P6 => rows::hsm::lone(&site, options, report)?,
            Row::P7 => rows::handshakes::run(options, report)?,
            Row::P8 => rows::memory::run(&site, options, report)?,
            Row::P9 => rows::idle::run(&site, options, report)?,
            Row::P10 => rows::start::run(&site, options, report)?,
            Row::P11 => rows::ttlv(report)?,
            Row::P12 => rows::batch::run(&site, options, report)?,
            Row::Vault => rows::vault::run(&site, options, report)?,
        }
    }
    Ok(())
}

fn options(arguments: &Arguments) -> Options {
    let ms = Duration::from_millis;
    let mut rows = arguments.rows.clone();
    if rows.is_empty() {
        rows.extend(Row::all());
    } else if arguments.readme.is_some() && rows.iter().any(|row| row.is_of_speed()) {
        rows.extend(Row::all().iter().filter(|row| row.is_of_speed()));
    }
    let full = Options {
        rows,
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
