//! New connections in a closed loop: each a TCP connection, a full handshake in which both sides show their
//! certificates, one request, its answer, and the end. One thread, mio and rustls.
//!
//! Must never be true: a handshake that counts without the right answer after it: in TLS 1.3 a client is done before
//! the server has looked at its certificate.

use std::error::Error;
use std::fs;
use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use kms::net::pipe::{Pipe, SCRATCH_BYTES_MIN};
use kms_loadgen::target::CIPHER_SUITE;
use kms_loadgen::{Exchanges, Target, cpu};
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use rustls::client::Resumption;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, NamedGroup, RootCertStore};

use crate::credentials::{SERVER_NAME, storm_config};
use crate::line::{Coming, LineError};

/// Longest without any connection coming to its end.
const PATIENCE: Duration = Duration::from_secs(10);
/// Longest wait in the poll.
const TICK: Duration = Duration::from_millis(20);
/// So many connections may fail, and a tenth of all: a server that refuses ends the run.
const FAILED_MAX: u64 = 20;

/// Handshakes after which a storm is under way.
const UNDER_WAY: u64 = 50;

/// What became of them.
#[derive(Clone, Debug, Default)]
pub struct Handshakes {
    /// With the right answer.
    pub right: u64,
    /// With another.
    pub wrong: u64,
    /// Refused, cut off or without an answer.
    pub failed: u64,
    /// Microseconds from `connect` to the right answer, in the order in which they came.
    pub took_us: Vec<f64>,
    /// From the first connection to the end of the last.
    pub elapsed: Duration,
    /// CPU time of this thread.
    pub client_cpu: Duration,
}

impl Handshakes {
    /// Whether they may be judged.
    pub fn is_clean(&self) -> bool {
        self.right > 0 && self.wrong == 0 && self.failed == 0
    }
}

/// Settings of a client that offers `group` alone and the one cipher suite that all rows use.
pub fn client_config(
    authority: CertificateDer<'static>,
    leaf: CertificateDer<'static>,
    key: PrivateKeyDer<'static>,
    group: NamedGroup,
) -> Result<Arc<ClientConfig>, rustls::Error> {
    let mut provider = rustls::crypto::aws_lc_rs::default_provider();
    provider
        .cipher_suites
        .retain(|suite| suite.suite() == CIPHER_SUITE);
    provider.kx_groups.retain(|offered| offered.name() == group);
    let mut roots = RootCertStore::empty();
    roots.add(authority)?;
    let mut config = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_root_certificates(roots)
        .with_client_auth_cert(vec![leaf], key)?;
    config.resumption = Resumption::disabled();
    Ok(Arc::new(config))
}

/// Keeps `at_once` connections under way until `until` says so; what is under way then comes to its end.
pub fn run(
    target: &Target,
    exchanges: &Exchanges,
    order: &mut dyn Iterator<Item = usize>,
    at_once: usize,
    mut until: impl FnMut(&Handshakes) -> bool,
) -> Result<Handshakes, LineError> {
    let mut caller = Caller {
        poll: Poll::new()?,
        target,
        exchanges,
        order,
        calls: Vec::new(),
        scratch: vec![0; SCRATCH_BYTES_MIN],
        so_far: Handshakes::default(),
    };
    let (start, cpu_before) = (Instant::now(), cpu::this_thread()?);
    for index in 0..at_once {
        let call = caller.open(index)?;
        caller.calls.push(Some(call));
    }
    let mut events = Events::with_capacity(at_once);
    let (mut ends, mut progress) = (false, (start, 0));
    while caller.calls.iter().any(Option::is_some) {
        match caller.poll.poll(&mut events, Some(TICK)) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error.into()),
            _ => {}
        }
        for event in &events {
            ends = ends || until(&caller.so_far);
            caller.go_on(event.token().0, ends)?;
        }
        let done = caller.so_far.right + caller.so_far.wrong + caller.so_far.failed;
        if done > progress.1 {
            progress = (Instant::now(), done);
        } else if progress.0.elapsed() > PATIENCE {
            return Err(LineError::NoAnswer);
        }
    }
    caller.so_far.elapsed = start.elapsed();
    caller.so_far.client_cpu = cpu::this_thread()?.saturating_sub(cpu_before);
    Ok(caller.so_far)
}

/// The storm of row P7, in a process of its own until its input ends: says `going` once it is under way, and at the
/// end its handshakes a second and how many connections failed or had a wrong answer.
pub fn storm(address: SocketAddr, folder: &Path, at_once: usize) -> Result<(), Box<dyn Error>> {
    let target = Target {
        address,
        name: ServerName::try_from(SERVER_NAME)?,
        tls: storm_config(folder, NamedGroup::X25519)?,
        host: SERVER_NAME.to_owned(),
    };
    let mut exchanges = Exchanges::default();
    exchanges.push(
        &fs::read(folder.join("request"))?,
        &fs::read(folder.join("expected"))?,
    );
    let over = Arc::new(AtomicBool::new(false));
    let ends = Arc::clone(&over);
    thread::spawn(move || {
        let _ = io::stdin().read_to_end(&mut Vec::new());
        ends.store(true, Ordering::Relaxed);
    });
    let mut says_so = true;
    let until = |so_far: &Handshakes| {
        if says_so && so_far.right >= UNDER_WAY {
            says_so = false;
            // Whoever started it is gone: the end of the input says so as well.
            let _ = writeln!(io::stdout(), "going");
        }
        over.load(Ordering::Relaxed)
    };
    let made = run(
        &target,
        &exchanges,
        &mut std::iter::repeat(0),
        at_once,
        until,
    )?;
    let per_s = made.right as f64 / made.elapsed.as_secs_f64();
    writeln!(io::stdout(), "{per_s:.1} {}", made.failed + made.wrong)?;
    Ok(())
}

struct Caller<'a> {
    poll: Poll,
    target: &'a Target,
    exchanges: &'a Exchanges,
    order: &'a mut dyn Iterator<Item = usize>,
    calls: Vec<Option<Call>>,
    scratch: Vec<u8>,
    so_far: Handshakes,
}

/// One connection.
struct Call {
    pipe: Pipe<TcpStream>,
    since: Instant,
    /// Index of its request.
    asks: usize,
    asked: bool,
    coming: Coming,
}

impl Caller<'_> {
    fn open(&mut self, index: usize) -> Result<Call, LineError> {
        let since = Instant::now();
        let mut stream = TcpStream::connect(self.target.address)?;
        let interest = Interest::READABLE | Interest::WRITABLE;
        self.poll
            .registry()
            .register(&mut stream, Token(index), interest)?;
        Ok(Call {
            pipe: Pipe::client(self.target.tls.clone(), self.target.name.clone(), stream)?,
            since,
            asks: self.order.next().unwrap_or_default(),
            asked: false,
            coming: Coming::new(),
        })
    }

    /// Serves one connection; when it is over, another takes its place unless the run `ends`.
    fn go_on(&mut self, index: usize, ends: bool) -> Result<(), LineError> {
        let Some(Some(call)) = self.calls.get_mut(index) else {
            return Ok(());
        };
        let exchange = self.exchanges.get(call.asks);
        let (request, expected) = exchange.map_or((&b""[..], &b""[..]), |exchange| {
            (exchange.request, exchange.expected)
        });
        match call.go_on(&mut self.scratch, request, expected) {
            Ok(None) => return Ok(()),
            Ok(Some(true)) => {
                self.so_far.right += 1;
                let took = call.since.elapsed();
                self.so_far.took_us.push(took.as_secs_f64() * 1e6);
            }
            Ok(Some(false)) => self.so_far.wrong += 1,
            Err(why) => {
                self.so_far.failed += 1;
                if self.so_far.failed > FAILED_MAX + self.so_far.right / 10 {
                    return Err(why);
                }
            }
        }
        let next = if ends { None } else { Some(self.open(index)?) };
        if let Some(place) = self.calls.get_mut(index) {
            *place = next;
        }
        Ok(())
    }
}

impl Call {
    /// Reads and writes what the socket has; whether the answer is right, once it is whole.
    fn go_on(
        &mut self,
        scratch: &mut [u8],
        request: &[u8],
        expected: &[u8],
    ) -> Result<Option<bool>, LineError> {
        if !self.asked {
            if self.pipe.stream().peer_addr().is_err() {
                return match self.pipe.stream().take_error()? {
                    Some(error) => Err(error.into()),
                    None => Ok(None),
                };
            }
            self.pipe.stream().set_nodelay(true)?;
        }
        loop {
            let mut plain = Vec::new();
            let received = self
                .pipe
                .receive(scratch, |bytes| plain.extend_from_slice(bytes));
            if self.pipe.is_established() && !self.asked {
                self.pipe.send(request)?;
                self.asked = true;
            }
            self.pipe.flush()?;
            let received = received?;
            let came = self.coming.take(&plain, expected, received.closed);
            match came.map_err(LineError::Http)? {
                None if received.closed => return Err(LineError::NoAnswer),
                None if received.more => {}
                None => return Ok(None),
                Some(right) => {
                    // As a client does that means to come again.
                    self.pipe.close();
                    self.pipe.flush()?;
                    return Ok(Some(right));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
