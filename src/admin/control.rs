//! The control socket: orders of this machine's operator, one JSON line in, one JSON line out.
//!
//! A Unix socket of mode 0600; who connects must be this server's user or root, asked of the kernel. Must never be
//! true: an order taken from anybody else; a line read without a bound; an order that waits for a slow peer for
//! ever. Called by `node`, asked by `cli`.

use std::fs::{self, Permissions};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::server::thread;

const ORDER_BYTES_MAX: u64 = 4 * 1024;
const ANSWER_BYTES_MAX: u64 = 1024 * 1024;
/// For the order to come.
const ORDER_TIMEOUT: Duration = Duration::from_secs(2);
/// For the answer to come: a reload may derive keys from passwords.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// What may be ordered.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(tag = "order", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Order {
    /// As `/status`.
    Status,
    /// Read the configuration and the keystores again.
    Reload,
    /// Send clients elsewhere: `/readyz` is 404, answers end their connections, idle ones end soon.
    Drain {
        /// Back to service instead.
        #[serde(default)]
        cancel: bool,
    },
    /// Drop cached plaintexts.
    Purge {
        /// Of this key; all without it.
        #[serde(default)]
        key: Option<String>,
        /// On all nodes that share a cache, and in that.
        #[serde(default)]
        cluster: bool,
    },
    /// Have the shared cache sealed under a new key from now on.
    RenewKey,
}

/// Carries an order out; the text of an error is for the operator.
pub type Carry = Box<dyn Fn(Order) -> Result<Value, String> + Send>;

/// A bound socket that nobody answers yet.
pub struct Control {
    listener: UnixListener,
    path: PathBuf,
}

/// Answers until it is stopped.
pub struct ControlHandle {
    path: PathBuf,
    stop: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Control {
    /// Binds `path`. A socket that a dead server left is replaced; one that is answered is an error.
    pub fn bind(path: &Path) -> io::Result<Self> {
        let listener = match UnixListener::bind(path) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                if UnixStream::connect(path).is_ok() {
                    return Err(io::Error::new(
                        io::ErrorKind::AddrInUse,
                        "another server answers there",
                    ));
                }
                fs::remove_file(path)?;
                UnixListener::bind(path)?
            }
            bound => bound?,
        };
        // Whoever was quicker is still asked for by user.
        fs::set_permissions(path, Permissions::from_mode(0o600))?;
        Ok(Self {
            listener,
            path: path.to_owned(),
        })
    }

    /// Answers on a thread of its own.
    pub fn start(self, carry: Carry) -> io::Result<ControlHandle> {
        let Self { listener, path } = self;
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = thread::spawn("control".to_owned(), move || {
            for stream in listener.incoming() {
                if stopped.load(Ordering::Acquire) {
                    return;
                }
                // A peer that is gone needs no answer.
                let _ = stream.and_then(|stream| serve(&stream, &carry));
            }
        })?;
        Ok(ControlHandle { path, stop, thread })
    }
}

impl ControlHandle {
    /// Ends it and removes the socket.
    pub fn stop(self) {
        self.stop.store(true, Ordering::Release);
        // Wakes it up.
        if UnixStream::connect(&self.path).is_ok() && self.thread.join().is_err() {
            log::error!("the control thread panicked");
        }
        let _ = fs::remove_file(&self.path);
    }
}

fn serve(stream: &UnixStream, carry: &Carry) -> io::Result<()> {
    stream.set_read_timeout(Some(ORDER_TIMEOUT))?;
    stream.set_write_timeout(Some(ORDER_TIMEOUT))?;
    let answer = match admitted(stream).and_then(|()| read_order(stream)) {
        Ok(order) => carry(order),
        Err(why) => Err(why),
    };
    let answer = answer.unwrap_or_else(|why| json!({ "error": why }));
    (&mut &*stream).write_all(format!("{answer}\n").as_bytes())
}

fn admitted(stream: &UnixStream) -> Result<(), String> {
    let peer = rustix::net::sockopt::socket_peercred(stream).map_err(|error| error.to_string())?;
    let own = rustix::process::geteuid();
    if peer.uid == own || peer.uid.is_root() {
        return Ok(());
    }
    Err(format!(
        "user {} may not give orders here: only {} and root",
        peer.uid.as_raw(),
        own.as_raw()
    ))
}

fn read_order(stream: &UnixStream) -> Result<Order, String> {
    let mut line = String::new();
    BufReader::new(stream.take(ORDER_BYTES_MAX))
        .read_line(&mut line)
        .map_err(|error| format!("the order did not come: {error}"))?;
    serde_json::from_str(&line).map_err(|error| format!("not an order: {error}"))
}

/// Gives `order` to the server at `path` and waits for its answer.
pub fn ask(path: &Path, order: &Order) -> Result<Value, String> {
    let failed = |error: io::Error| error.to_string();
    let mut stream = UnixStream::connect(path).map_err(failed)?;
    stream
        .set_read_timeout(Some(ANSWER_TIMEOUT))
        .map_err(failed)?;
    stream
        .set_write_timeout(Some(ORDER_TIMEOUT))
        .map_err(failed)?;
    let line = serde_json::to_string(order).map_err(|error| error.to_string())? + "\n";
    stream.write_all(line.as_bytes()).map_err(failed)?;
    let mut answer = String::new();
    BufReader::new(stream.take(ANSWER_BYTES_MAX))
        .read_line(&mut answer)
        .map_err(failed)?;
    let answer: Value =
        serde_json::from_str(&answer).map_err(|_| "its answer is no JSON".to_owned())?;
    match answer["error"].as_str() {
        Some(why) => Err(why.to_owned()),
        None => Ok(answer),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn echo() -> Carry {
        Box::new(|order| match order {
            Order::Reload => Err("refused: no".to_owned()),
            order => Ok(json!({ "did": serde_json::to_value(order).unwrap() })),
        })
    }

    #[test]
    fn orders_are_carried_out_and_errors_told() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("control.sock");
        let handle = Control::bind(&path).unwrap().start(echo()).unwrap();
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let key = Some("a \"key\"".to_owned());
        for (name, order, want) in [
            ("status", Order::Status, Ok("status")),
            ("drain", Order::Drain { cancel: true }, Ok("drain")),
            (
                "purge",
                Order::Purge {
                    key,
                    cluster: false,
                },
                Ok("purge"),
            ),
            ("reload", Order::Reload, Err("refused: no")),
        ] {
            let answer = ask(&path, &order);
            let got = answer
                .as_ref()
                .map(|answer| answer["did"]["order"].as_str().unwrap());
            assert_eq!(got, want.map_err(str::to_owned).as_ref().copied(), "{name}");
        }
        let taken = Control::bind(&path).err().unwrap();
        assert!(taken.to_string().contains("another server"), "{taken}");
        handle.stop();
        assert!(!path.exists());
    }

    #[test]
    fn nonsense_is_refused_and_bounded() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("control.sock");
        let handle = Control::bind(&path).unwrap().start(echo()).unwrap();
        for (name, line, want) in [
            ("no JSON", "reload\n".to_owned(), "not an order"),
            (
                "unknown",
                "{\"order\":\"halt\"}\n".to_owned(),
                "not an order",
            ),
            (
                "more than is known",
                "{\"order\":\"drain\",\"x\":1}\n".to_owned(),
                "not an order",
            ),
            ("endless", "x".repeat(5000), "not an order"),
        ] {
            let mut stream = UnixStream::connect(&path).unwrap();
            // What is beyond the bound may find nobody who reads.
            let _ = stream.write_all(line.as_bytes());
            let mut said = String::new();
            let _ = BufReader::new(stream).read_line(&mut said);
            assert!(
                said.contains(want) || (name == "endless" && said.is_empty()),
                "{name}: {said}"
            );
        }
        handle.stop();
    }

    #[test]
    fn a_dead_servers_socket_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("control.sock");
        drop(UnixListener::bind(&path).unwrap());
        let handle = Control::bind(&path).unwrap().start(echo()).unwrap();
        assert!(ask(&path, &Order::Status).is_ok());
        handle.stop();
    }
}
