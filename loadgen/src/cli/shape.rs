//! Options that say what is asked, how fast, over which connections, and what must hold.

use std::path::PathBuf;

use clap::Args;

use super::reach::ReachArgs;
use crate::load::job::{Job, Load};
use crate::load::trace::StormPlan;

#[derive(Args)]
#[command(next_help_heading = "Load")]
pub(super) struct ShapeArgs {
    /// Operations by weight, e.g. decrypt=90,decrypt/32=5,datakey=5; there are encrypt, decrypt, datakey, rewrap, and
    /// /N for batches.
    #[arg(long, default_value = "decrypt")]
    mix: String,
    /// Which data keys: uniform, zipf[:EXPONENT], hot[:SHARE[:KEYS]], scan-once, scan-twice[:GAP], each with
    /// [,keys=N][@WEIGHT]; may be repeated.
    #[arg(long = "stream", value_name = "STREAM", default_value = "uniform")]
    streams: Vec<String>,
    /// The working set: data keys that are asked for. Apart from the server's cache, which may be smaller. Default:
    /// all of --ciphertexts, or 1000.
    #[arg(long, alias = "data-keys", value_name = "N")]
    keys: Option<u32>,
    /// File of wrapped data keys that `prepare` made; without it they are wrapped before the run.
    #[arg(long, value_name = "FILE")]
    ciphertexts: Option<PathBuf>,
    /// Unwraps every data key once before the run.
    #[arg(long)]
    fill_cache: bool,
    #[command(flatten)]
    connections: Connections,
    /// Seconds of load before the first figure is taken.
    #[arg(long, value_name = "S", default_value_t = 0.0)]
    warm_up_s: f64,
    /// Milliseconds that an answer, a connection or a handshake is waited for.
    #[arg(long, value_name = "MS", default_value_t = 10_000)]
    timeout_ms: u64,
    /// Gives up after so many seconds without any answer.
    #[arg(long, value_name = "S", default_value_t = 10)]
    give_up_s: u64,
    /// Seed of all that is random: equal seeds ask for the same keys at the same times.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Waits for the next due request without sleeping: more precise, and takes a whole core.
    #[arg(long)]
    spin: bool,
    #[command(flatten)]
    judging: Judging,
}

#[derive(Args)]
#[command(next_help_heading = "Connections")]
#[allow(clippy::struct_field_names)] // As the options are called.
struct Connections {
    /// Connections opened before the run.
    #[arg(long, value_name = "N", default_value_t = 64)]
    connections: u32,
    /// Opens more, up to so many, when a request is due and none is free.
    #[arg(long, value_name = "N")]
    connections_max: Option<u32>,
    /// Requests that a connection lives, drawn from MIN to MAX; 1 is a new connection for each request.
    #[arg(long, value_name = "MIN[:MAX]")]
    connection_life: Option<String>,
    /// Later connections resume the TLS sessions of earlier ones.
    #[arg(long)]
    resume: bool,
}

#[derive(Args)]
#[command(next_help_heading = "Judging and watching")]
struct Judging {
    /// What must hold, e.g. p99<5ms,p99.9<=20ms,err<0.1%,rate>=10000/s; decides the exit code.
    #[arg(long, value_name = "TERMS")]
    slo: Option<String>,
    /// Lag of the generator that is believed (99th percentile, milliseconds); a tenth of the p99 in any case.
    #[arg(long, value_name = "MS", default_value_t = 1.0)]
    lag_ms_max: f64,
    /// The server's figures, e.g. `http://127.0.0.1:8444/metrics`: hits, joins, misses, sizes of HSM batches.
    #[arg(long, value_name = "URL")]
    metrics: Option<String>,
    /// The server's process on this machine: its CPU time.
    #[arg(long, value_name = "PID")]
    server_pid: Option<u32>,
}

/// What decides when requests are sent.
#[derive(Args)]
#[command(next_help_heading = "Schedule")]
pub(super) struct PaceArgs {
    /// Requests a second (open loop).
    #[arg(long, value_name = "PER_S", conflicts_with_all = ["closed", "storm"])]
    rate: Option<f64>,
    /// How they lie in time: poisson, constant, burst:SIZE with --rate; ramp:FROM:TO[:even] and
    /// step:FROM:TO:BY:SECONDS[:even] have rates of their own.
    #[arg(long, default_value = "poisson", conflicts_with_all = ["closed", "storm"])]
    schedule: String,
    /// Instead: devices that come within the window, each over a connection of its own, and read each of their keys,
    /// one every 10 ms if not told.
    #[arg(
        long,
        value_name = "DEVICES:KEYS:WINDOW_S[:GAP_MS]",
        conflicts_with = "closed"
    )]
    storm: Option<String>,
    /// Instead: a closed loop. A connection asks again when it has its answer; shows the highest rate, and hides what
    /// clients that keep coming would see.
    #[arg(long)]
    closed: bool,
    /// Requests in flight on each connection of a closed loop.
    #[arg(long, value_name = "N", default_value_t = 1, requires = "closed")]
    depth: u16,
    /// Seconds in figures [default: 10].
    #[arg(long, value_name = "S")]
    duration_s: Option<f64>,
}

impl ShapeArgs {
    /// A job without a schedule.
    pub fn job(&self, server: &ReachArgs) -> Job {
        let Connections {
            connections,
            connections_max,
            ref connection_life,
            resume,
        } = self.connections;
        Job {
            reach: server.reach(),
            tls: server.tls.clone(),
            resume,
            loads: vec![Load {
                streams: self.streams.clone(),
                mix: self.mix.clone(),
                ..Load::default()
            }],
            connections,
            connections_max,
            connection_life: connection_life.clone(),
            timeout_ms: self.timeout_ms,
            warm_up_s: self.warm_up_s,
            give_up_s: self.give_up_s,
            seed: self.seed,
            keys: self.keys,
            ciphertexts: self.ciphertexts.clone(),
            fill_cache: self.fill_cache,
            slo: self.judging.slo.clone(),
            metrics: self.judging.metrics.clone(),
            server_pid: self.judging.server_pid,
            lag_ms_max: self.judging.lag_ms_max,
            spin: self.spin,
            ..Job::default()
        }
    }
}

impl PaceArgs {
    /// Adds the schedule.
    pub fn add_to(&self, job: &mut Job) -> Result<(), String> {
        job.closed = self.closed;
        job.depth = self.depth;
        job.duration_s = self.duration_s;
        let Some(load) = job.loads.first_mut() else {
            return Ok(());
        };
        load.rate = self.rate;
        load.schedule.clone_from(&self.schedule);
        load.storm = self.storm.as_deref().map(storm).transpose()?;
        if self.rate.is_none()
            && !self.closed
            && load.storm.is_none()
            && self.schedule == Load::default().schedule
        {
            return Err(
                "name --rate N (open loop), another --schedule, a --storm, or --closed".to_owned(),
            );
        }
        Ok(())
    }
}

fn storm(text: &str) -> Result<StormPlan, String> {
    let bad = || format!("--storm {text}: DEVICES:KEYS:WINDOW_S[:GAP_MS] belongs there");
    let parts: Vec<&str> = text.split(':').collect();
    let (devices, keys, window, gap) = match parts.as_slice() {
        [devices, keys, window] => (devices, keys, window, &"10"),
        [devices, keys, window, gap] => (devices, keys, window, gap),
        _ => return Err(bad()),
    };
    Ok(StormPlan {
        devices: devices.parse().map_err(|_| bad())?,
        keys_each: keys.parse().map_err(|_| bad())?,
        window_s: window.parse().map_err(|_| bad())?,
        reads: 1,
        gap_ms: gap.parse().map_err(|_| bad())?,
    })
}
