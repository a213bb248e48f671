//! `kms demo`: everything embedded, one command, one key unwrapped.
//!
//! Makes a folder with certificates, a keystore and a configuration, starts the server on it, and
//! talks to it as a device does. Must never be true: a demo that needs anything installed, or more
//! locked memory than an ordinary user may lock.
#![allow(clippy::print_stdout)]

mod device;
mod folder;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use ring::rand::{SecureRandom, SystemRandom};
use zeroize::Zeroizing;

use crate::config::{self, Config};
use crate::node::{self, Node, Options, StartError};
use crate::secret::harden;
use crate::wire::base64;

use device::Device;
use folder::Folder;

use super::fail;

/// Name of the master key.
const KEY: &str = "demo";

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Folder for certificates, keystore and configuration; made if it is not there.
    #[arg(long, value_name = "DIR", default_value = "./kms-demo")]
    dir: PathBuf,
    /// Port of the service, on 127.0.0.1.
    #[arg(long, default_value_t = 8443)]
    port: u16,
    /// Port of /healthz, /readyz and /metrics, on 127.0.0.1.
    #[arg(long, value_name = "PORT", default_value_t = 8444)]
    health_port: u16,
    /// End after the round trip instead of serving until Ctrl-C.
    #[arg(long)]
    once: bool,
}

pub(super) fn run(arguments: &Arguments) -> ExitCode {
    match demo(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => fail(why),
    }
}

/// Prints one step with the time it took.
struct Steps(Instant);

impl Steps {
    fn done(&mut self, what: &str) {
        let took = self.0.elapsed();
        println!("  {:>9}  {what}", millis(took));
        self.0 = Instant::now();
    }
}

fn millis(time: Duration) -> String {
    format!("{:.2} ms", time.as_secs_f64() * 1e3)
}

fn demo(arguments: &Arguments) -> Result<(), String> {
    harden::harden_process().map_err(|error| error.to_string())?;
    println!("Connected KMS demo\n");
    let mut steps = Steps(Instant::now());
    let folder = Folder::at(&arguments.dir);
    if folder.is_complete() {
        folder.set_ports(arguments.port, arguments.health_port)?;
        steps.done(&format!(
            "using the certificates and keys in {}",
            folder.shown()
        ));
    } else {
        folder.make(arguments.port, arguments.health_port)?;
        steps.done(&format!(
            "made certificates, keystore and kms.properties in {}",
            folder.shown()
        ));
    }
    let config = load(&folder)?;
    let node = Node::start(&config, Options::default()).map_err(|error| refused(&error))?;
    steps.done(&format!(
        "started the server on {} with the embedded back end",
        node.address()
    ));
    let address = node.address();
    let outcome = round_trip(&folder, address, &mut steps);
    match outcome {
        Ok(ciphertext) if !arguments.once => {
            print_how_to(&folder, &node, &ciphertext);
            let signal = node::until_signalled(|| {}).map_err(|error| error.to_string())?;
            println!("\n{signal}: stopping");
            node.drain_and_stop();
            Ok(())
        }
        Ok(_) => {
            node.drain_and_stop();
            println!("\nIt works. Without --once the server goes on until Ctrl-C.");
            Ok(())
        }
        Err(why) => {
            node.drain_and_stop();
            Err(why)
        }
    }
}

/// Why the server did not start; the demo's ports are flags, not keys.
fn refused(error: &StartError) -> String {
    match error {
        StartError::Listen { address, error, .. } => format!(
            "{address} cannot be listened on: {error}. Choose other ports with --port and --health-port"
        ),
        error => error.to_string(),
    }
}

fn load(folder: &Folder) -> Result<Config, String> {
    let loaded = config::load(&folder.properties(), std::env::vars_os())
        .map_err(|error| error.to_string())?;
    let mut config = loaded.config;
    // The steps below are the demo's log; warnings still show.
    config.log.level = config.log.level.min(log::LevelFilter::Warn);
    super::log::install(&config.log).map_err(|error| error.to_string())?;
    Ok(config)
}

/// Wraps and unwraps a key as a device, and returns the ciphertext.
fn round_trip(folder: &Folder, address: SocketAddr, steps: &mut Steps) -> Result<String, String> {
    let mut backend = Device::connect(folder, "cmxBackend", address)?;
    backend.create_key(KEY)?;
    steps.done(&format!("created master key '{KEY}' as cmxBackend"));
    let mut device = Device::connect(folder, "cmxDevice", address)?;
    steps.done(&format!(
        "mutual TLS handshake as cmxDevice: {}",
        device.describe()
    ));
    let mut dek = Zeroizing::new([0; 32]);
    SystemRandom::new()
        .fill(dek.as_mut())
        .map_err(|_| "the kernel gives no random numbers".to_owned())?;
    let mut plaintext = Zeroizing::new(Vec::new());
    base64::put(&mut *plaintext, dek.as_ref());
    let plaintext = Zeroizing::new(String::from_utf8_lossy(&plaintext).into_owned());
    let ciphertext = device.encrypt(KEY, &plaintext)?;
    steps.done(&format!("wrapped a new 256-bit data key: {ciphertext}"));
    for what in [
        "unwrapped it: asked the back end",
        "unwrapped it again: from locked memory",
    ] {
        let unwrapped = device.decrypt(KEY, &ciphertext)?;
        if *unwrapped != *plaintext {
            return Err("the unwrapped key is not the key that was wrapped".to_owned());
        }
        steps.done(what);
    }
    Ok(ciphertext)
}

fn print_how_to(folder: &Folder, node: &Node, ciphertext: &str) {
    let dir = folder.for_shell();
    let program = program();
    let (address, health) = (node.address(), node.health_address());
    let curl =
        format!("curl --cacert {dir}/ca.crt --cert {dir}/cmxDevice.crt --key {dir}/cmxDevice.key");
    println!(
        "
Serving on https://{address} until Ctrl-C. From another terminal in this folder:

  # unwrap the key above
  {curl} \\
    -d '{{\"ciphertext\":\"{ciphertext}\"}}' https://{address}/v1/transit/decrypt/{KEY}

  # wrap something
  {curl} \\
    -d '{{\"plaintext\":\"aGVsbG8=\"}}' https://{address}/v1/transit/encrypt/{KEY}

  # how it is doing
  curl http://{health}/readyz
  curl http://{health}/metrics

The same server again later:
  {program} serve --config {dir}/kms.properties"
    );
}

/// This program as a shell here would call it: a path below the current folder if it is there.
fn program() -> String {
    let own = std::env::current_exe().ok();
    let here = std::env::current_dir().unwrap_or_default();
    own.map_or_else(
        || "kms".to_owned(),
        |own| folder::quoted(own.strip_prefix(&here).unwrap_or(&own)),
    )
}
