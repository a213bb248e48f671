//! The command line of `kms-loadgen hsm-sim`.
//!
//! Must never be true: a simulator that starts without saying that it is none of the real ones. Called by
//! the program's `main`.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

use clap::{Args, Subcommand};
use kms::wire::kmip::ProtocolVersion;
use signal_hook::consts::{SIGINT, SIGTERM};

use super::control;
use super::fault::FaultOrder;
use super::plan::{HsmPlan, version_of};
use super::preset::{Model, Preset};
use super::server::{Sim, SimPlan};
use super::site::{Ports, Site};
use super::tls::Shown;

/// Runs a simulated HSM: a KMIP server over mutual TLS, for tests only.
///
/// It holds AES-256 keys and does real AES-GCM, with the latency, the limits and, on order, the faults of
/// real HSMs. It is none: its keys come from a seed and rest in ordinary memory.
///
/// Two commands make a whole site:
///
///    kms-loadgen hsm-sim --write-site site --preset lan-hsm
///    kms serve --config site/kms.properties
///
/// A third makes it fail:
///
///    kms-loadgen hsm-sim ctl site/hsm-sim.sock stall 2000
///
/// SIGTERM and Ctrl-C end it. Exit codes: 0 ended as told, 2 an error, told on standard error.
#[derive(Args)]
#[command(verbatim_doc_comment, args_conflicts_with_subcommands = true)]
pub struct HsmSim {
    #[command(subcommand)]
    action: Option<Action>,
    /// Address and port; port 0 takes a free one.
    #[arg(long, default_value = "127.0.0.1:5696")]
    address: SocketAddr,
    /// Timing and limits; the numbers below change single ones.
    #[arg(long, value_enum, default_value = "null")]
    preset: Preset,
    #[command(flatten)]
    numbers: Numbers,
    /// Makes a folder with certificates, keystore and kms.properties, or uses the one it made before.
    #[arg(long, value_name = "DIR")]
    write_site: Option<PathBuf>,
    /// Without --write-site: PEM file of the authority that vouches for clients.
    #[arg(long, value_name = "PEM", conflicts_with = "write_site", requires_all = ["cert", "private_key"])]
    ca: Option<PathBuf>,
    /// Without --write-site: PEM file of the certificate that is shown, and its chain.
    #[arg(long, value_name = "PEM", requires = "ca")]
    cert: Option<PathBuf>,
    /// Without --write-site: PEM file of its private key.
    #[arg(long, value_name = "PEM", requires = "ca")]
    private_key: Option<PathBuf>,
    /// Port of the server in the kms.properties that --write-site makes.
    #[arg(long, default_value_t = 8443)]
    service_port: u16,
    /// Port of its health listener.
    #[arg(long, default_value_t = 8444)]
    health_port: u16,
    /// Name of a key that is there and Active from the start; may be repeated.
    #[arg(long = "key", value_name = "NAME", default_value = "demo")]
    keys: Vec<String>,
    /// Of keys, identifiers, latencies and faults: equal seeds give equal ones.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Lowest KMIP version spoken.
    #[arg(long, default_value = "1.0", value_parser = version_of)]
    kmip_min: ProtocolVersion,
    /// Highest KMIP version spoken.
    #[arg(long, default_value = "2.1", value_parser = version_of)]
    kmip_max: ProtocolVersion,
    /// Lets several living keys have one name, as some servers do.
    #[arg(long)]
    duplicate_names: bool,
    /// Unix socket for orders; with --write-site it is hsm-sim.sock in the folder.
    #[arg(long, value_name = "SOCKET")]
    control: Option<PathBuf>,
    /// File for the ground truth: a JSON line for each Encrypt and Decrypt, with digests only.
    #[arg(long, value_name = "FILE")]
    truth: Option<PathBuf>,
    /// A fault from the start on, as `ctl` takes it; may be repeated.
    #[arg(long = "fault", value_name = "ORDER", value_parser = FaultOrder::parse)]
    faults: Vec<FaultOrder>,
    /// Print JSON: a line at the start, a line at the end.
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
struct Numbers {
    /// Milliseconds a message takes (median), the network included.
    #[arg(long, value_name = "MS")]
    message_ms: Option<String>,
    /// Sigma of the lognormal jitter on it: ln(p99 / p50) / 2.326.
    #[arg(long)]
    sigma: Option<String>,
    /// Milliseconds that each item adds.
    #[arg(long, value_name = "MS")]
    item_ms: Option<String>,
    /// Messages served at the same time; each connection has one at a time.
    #[arg(long)]
    engines: Option<String>,
    /// Items a second in all, or `none`.
    #[arg(long, value_name = "RATE")]
    ceiling: Option<String>,
    /// What happens above the ceiling: `queue` or `reject`.
    #[arg(long)]
    overload: Option<String>,
    /// Rejects what would wait longer, or `none`.
    #[arg(long, value_name = "MS")]
    queue_ms_max: Option<String>,
    /// Share of messages that are rejected anyway, 0 to 1.
    #[arg(long, value_name = "SHARE")]
    reject: Option<String>,
    /// Most items of a message; more are refused as a whole.
    #[arg(long, value_name = "ITEMS")]
    batch_max: Option<String>,
    /// Closes connections that are silent for so long, or `none`.
    #[arg(long, value_name = "MS")]
    idle_ms: Option<String>,
}

#[derive(Subcommand)]
enum Action {
    /// Gives one order to a running simulator and prints its answer.
    ///
    /// Faults: FAULT [MS] [count=N] [p=P] [every=N] [reason=N] [for=MS]; without a duration until `clear`.
    /// Others: clear [FAULT], set NAME VALUE, status, reset, stop, help.
    Ctl {
        /// The simulator's control socket.
        socket: PathBuf,
        /// The order.
        #[arg(required = true, num_args = 1.., allow_hyphen_values = true)]
        order: Vec<String>,
    },
}

impl HsmSim {
    /// Runs until it is told to stop. False: the order of `ctl` was refused.
    pub fn execute(&self) -> Result<bool, String> {
        if let Some(Action::Ctl { socket, order }) = &self.action {
            let answer = control::order(socket, &order.join(" "))?;
            say(std::slice::from_ref(&answer))?;
            return Ok(!answer.starts_with("error: "));
        }
        let site = self.write_site.as_deref().map(Site::open).transpose()?;
        let control = match (&self.control, &site) {
            (None, Some(site)) => Some(site.file("hsm-sim.sock")),
            (given, _) => given.clone(),
        };
        let mut sim = Sim::bind(SimPlan {
            address: self.address,
            model: self.model()?,
            hsm: self.hsm()?,
            tls: self.tls(site.as_ref())?,
            control: control.clone(),
            faults: self.faults.clone(),
        })?;
        let ports = Ports {
            service: self.service_port,
            health: self.health_port,
        };
        let properties = site.map(|site| site.write_properties(sim.address(), ports));
        let properties = properties.transpose()?;
        stop_on_signals(&mut sim).map_err(|error| format!("signals: {error}"))?;
        say(&self.greeting(&sim, control.as_ref(), properties.as_ref()))?;
        sim.run()
            .map_err(|error| format!("the event loop: {error}"))?;
        let status = sim.status();
        let totals = status.get("totals").cloned().unwrap_or_default();
        say(&[if self.json {
            status.to_string()
        } else {
            format!("stopped; {totals}")
        }])?;
        Ok(true)
    }

    fn model(&self) -> Result<Model, String> {
        let mut model = self.preset.model();
        let n = &self.numbers;
        for (name, value) in [
            ("message-ms", &n.message_ms),
            ("sigma", &n.sigma),
            ("item-ms", &n.item_ms),
            ("engines", &n.engines),
            ("ceiling", &n.ceiling),
            ("overload", &n.overload),
            ("queue-ms-max", &n.queue_ms_max),
            ("reject", &n.reject),
            ("batch-max", &n.batch_max),
            ("idle-ms", &n.idle_ms),
        ] {
            if let Some(value) = value {
                model.set(name, value).map_err(|why| format!("--{why}"))?;
            }
        }
        Ok(model)
    }

    fn hsm(&self) -> Result<HsmPlan, String> {
        if self.kmip_min > self.kmip_max {
            let (min, max) = (self.kmip_min, self.kmip_max);
            return Err(format!("--kmip-min {min} is above --kmip-max {max}"));
        }
        Ok(HsmPlan {
            seed: self.seed,
            keys: self.keys.clone(),
            version_min: self.kmip_min,
            version_max: self.kmip_max,
            duplicate_names: self.duplicate_names,
            truth: self.truth.clone(),
        })
    }

    fn tls(&self, site: Option<&Site>) -> Result<Shown, String> {
        match (site, &self.ca, &self.cert, &self.private_key) {
            (Some(site), ..) => Shown::from_dir(&site.file("")),
            (None, Some(ca), Some(cert), Some(key)) => Shown::from_files(ca, cert, key),
            _ => Err(
                "no certificates: name --write-site DIR, which makes them, or --ca, --cert \
                      and --private-key"
                    .to_owned(),
            ),
        }
    }

    fn greeting(
        &self,
        sim: &Sim,
        control: Option<&PathBuf>,
        properties: Option<&PathBuf>,
    ) -> Vec<String> {
        let (address, model) = (sim.address(), sim.model());
        let path = |path: Option<&PathBuf>| path.map(|path| path.display().to_string());
        let (control, properties) = (path(control), path(properties));
        let truth = path(self.truth.as_ref());
        let preset = self.preset.name();
        if self.json {
            let line = serde_json::json!({
                "simulator": true, "address": address.to_string(), "preset": preset,
                "model": model.to_string(), "keys": self.keys, "seed": self.seed,
                "control": control, "truth": truth, "properties": properties,
                "pid": std::process::id(),
            });
            return vec![line.to_string()];
        }
        let mut lines = vec![
            "THIS IS NO HSM: keys come from a seed and rest in ordinary memory. For tests only."
                .to_owned(),
            format!(
                "listening  {address}, KMIP {} to {}, mutual TLS",
                self.kmip_min, self.kmip_max
            ),
            format!("preset     {preset}: {model}"),
            format!("keys       {}", self.keys.join(", ")),
        ];
        lines.extend(properties.map(|path| format!("serve      kms serve --config {path}")));
        lines.extend(control.map(|path| format!("orders     kms-loadgen hsm-sim ctl {path} help")));
        lines.extend(truth.map(|path| format!("truth      {path}")));
        lines.push(format!(
            "stop       Ctrl-C, or SIGTERM to process {}",
            std::process::id()
        ));
        lines
    }
}

fn say(lines: &[String]) -> Result<(), String> {
    let mut out = io::stdout().lock();
    let said = lines.iter().try_for_each(|line| writeln!(out, "{line}"));
    said.and_then(|()| out.flush())
        .map_err(|error| format!("standard output: {error}"))
}

fn stop_on_signals(sim: &mut Sim) -> io::Result<()> {
    let (ours, theirs) = UnixStream::pair()?;
    for signal in [SIGTERM, SIGINT] {
        signal_hook::low_level::pipe::register(signal, theirs.try_clone()?)?;
    }
    sim.stop_on(ours)
}
