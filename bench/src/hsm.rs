//! A simulated HSM and the product's own pool of connections to it, without a server in front.
//!
//! Must never be true: an unwrap counted that was not compared with what was wrapped.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender};
use std::time::{Duration, Instant};

use kms::hsm::kmip::{self, Address, KmipPlan, LOCKED_BYTES_PER_CONNECTION};
use kms::hsm::pool::{Pool, PoolPlan};
use kms::hsm::store::Store;
use kms::hsm::{Answer, ClientTag, Envelope, Hsm as _, HsmError, Job, ObjectId, Request};
use kms::net::tls::{HsmTrust, Identity, hsm_config};
use kms::secret::{Arena, ArenaPlan, SecretBytes};
use kms_loadgen::sim::site::{Ports, Site as SimSite};
use kms_loadgen::sim::tls::Shown;
use kms_loadgen::sim::{HsmPlan, Model, Running, Sim, SimPlan};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};

use crate::server::StartError;

/// Longer than any answer takes.
const PATIENCE: Duration = Duration::from_secs(30);
/// Bytes of a data key.
const DATA_KEY_BYTES: usize = 32;
/// Jobs that may wait in a pool.
const QUEUE_MAX: usize = 4096;

/// A simulated HSM that runs on a thread of this process, and the certificates of its site.
pub struct Simulated {
    /// Its folder, with a configuration for a server.
    pub site: SimSite,
    /// Stops when dropped.
    pub sim: Running,
}

/// How a pool reaches a simulated HSM.
#[derive(Clone, Copy, Debug)]
pub struct Reach {
    /// The simulator's, or that of a path there.
    pub address: SocketAddr,
    /// Connections.
    pub connections: usize,
    /// Items a message at most.
    pub batch_max: usize,
    /// Messages under way on one connection at most.
    pub pipeline_max: usize,
}

/// What one run of a pool came to.
#[derive(Clone, Copy, Debug)]
pub struct Turnover {
    /// Unwraps a second.
    pub items_per_s: f64,
    /// Microseconds from asking to the answer, the median.
    pub p50_us: f64,
}

fn failed(error: impl std::fmt::Display) -> StartError {
    StartError::Failed(format!("simulated HSM: {error}"))
}

/// Starts one in `folder`, which must be new or its own.
pub fn simulate(
    folder: &std::path::Path,
    model: Model,
    ports: Ports,
) -> Result<Simulated, StartError> {
    let site = SimSite::open(folder).map_err(failed)?;
    let sim = Sim::bind(SimPlan {
        address: ([127, 0, 0, 1], 0).into(),
        model,
        hsm: HsmPlan::default(),
        tls: Shown::from_dir(folder).map_err(failed)?,
        control: None,
        faults: Vec::new(),
    });
    let sim = sim.map_err(failed)?.spawn()?;
    site.write_properties(sim.address, ports).map_err(failed)?;
    Ok(Simulated { site, sim })
}

/// A pool with wrapped data keys to unwrap.
pub struct Unwrapper {
    pool: Pool,
    key: ObjectId,
    wrapped: Vec<(Vec<u8>, Vec<u8>)>,
    answers: (Sender<Came>, Receiver<Came>),
}

/// Which data key, when it was asked for, and what came.
type Came = (usize, Instant, Result<Answer, HsmError>);

impl Simulated {
    /// A pool of `connections`, at most `batch_max` items a message, and `count` wrapped data keys.
    pub fn unwrapper(
        &self,
        connections: usize,
        batch_max: usize,
        count: usize,
    ) -> Result<Unwrapper, StartError> {
        let reach = Reach {
            address: self.sim.address,
            connections,
            batch_max,
            pipeline_max: 1,
        };
        self.unwrapper_over(&reach, count)
    }

    /// A pool as `reach` says, and `count` wrapped data keys.
    pub fn unwrapper_over(&self, reach: &Reach, count: usize) -> Result<Unwrapper, StartError> {
        let Reach {
            address,
            connections,
            batch_max,
            pipeline_max,
        } = *reach;
        let read = |name: &str| CertificateDer::from_pem_file(self.site.file(name)).map_err(failed);
        let identity = Identity {
            chain: vec![read("kmsClient.crt")?],
            key: PrivateKeyDer::from_pem_file(self.site.file("kmsClient.key")).map_err(failed)?,
        };
        let trust = HsmTrust {
            authorities: vec![read("ca.crt")?],
            server_name: None,
            fingerprint: None,
        };
        let plan = KmipPlan {
            addresses: vec![Address {
                host: "127.0.0.1".into(),
                port: address.port(),
                server_name: ServerName::try_from("localhost").map_err(failed)?,
            }],
            tls: hsm_config(&trust, Some(&identity)).map_err(failed)?,
            login: None,
            envelope: Envelope::AesGcm,
        };
        let sizes = PoolPlan {
            name: "kmip1",
            connections,
            batch_max,
            pipeline_max,
            queue_max: QUEUE_MAX,
            connect_timeout: Duration::from_secs(5),
        };
        let arena = Arena::reserve(&ArenaPlan {
            key_bytes: 1 << 20,
            large_count: 1,
            large_bytes: 4096,
            buffer_bytes: (connections + 2) * LOCKED_BYTES_PER_CONNECTION,
            mode: None,
        });
        let store = Store::new(arena.map_err(failed)?, None);
        let mut unwrapper = Unwrapper {
            pool: kmip::start(plan, sizes, store).map_err(failed)?,
            key: ObjectId("".into()),
            wrapped: Vec::new(),
            answers: mpsc::channel(),
        };
        unwrapper.prepare(count)?;
        Ok(unwrapper)
    }
}

impl Unwrapper {
    fn prepare(&mut self, count: usize) -> Result<(), StartError> {
        let name: Arc<str> = "bench".into();
        self.submit(0, Request::Create { name });
        let Ok(Answer::Key(Some(record))) = self.next()?.2 else {
            return Err(failed("it made no key"));
        };
        let version = record.versions.first();
        self.key = version
            .map(|v| v.object.clone())
            .ok_or_else(|| failed("a key without a version"))?;
        for at in 0..count {
            let mut plaintext = vec![0; DATA_KEY_BYTES];
            for (place, byte) in plaintext.iter_mut().zip(at.to_be_bytes().iter().cycle()) {
                *place = *byte;
            }
            self.wrapped.push((plaintext.clone(), Vec::new()));
            let request = Request::Encrypt {
                object: self.key.clone(),
                plaintext: SecretBytes::new(plaintext),
                associated_data: Vec::new(),
            };
            self.submit(at, request);
        }
        for _ in 0..count {
            let (at, _, outcome) = self.next()?;
            match (outcome, self.wrapped.get_mut(at)) {
                (Ok(Answer::Sealed(sealed)), Some((_, place))) => *place = sealed,
                (other, _) => return Err(failed(format!("a wrap: {other:?}"))),
            }
        }
        Ok(())
    }

    fn submit(&self, at: usize, request: Request) {
        let (answers, asked) = (self.answers.0.clone(), Instant::now());
        self.pool.submit(Job {
            request,
            deadline: asked + PATIENCE,
            client: ClientTag::default(),
            sent: None,
            // Nobody listens any more once the run is over.
            done: Box::new(move |outcome| drop(answers.send((at, asked, outcome)))),
        });
    }

    fn next(&self) -> Result<Came, StartError> {
        self.answers.1.recv_timeout(PATIENCE).map_err(failed)
    }

    fn ask(&self, turn: usize) {
        let at = turn % self.wrapped.len().max(1);
        if let Some((_, sealed)) = self.wrapped.get(at) {
            let request = Request::Decrypt {
                object: self.key.clone(),
                sealed: sealed.clone(),
                associated_data: Vec::new(),
            };
            self.submit(at, request);
        }
    }

    /// Keeps `outstanding` unwraps waiting for `duration`. An answer that is not what was wrapped is an error.
    pub fn run(&self, outstanding: usize, duration: Duration) -> Result<Turnover, StartError> {
        let start = Instant::now();
        let (mut turn, mut waiting) = (0, 0);
        let mut took_us = Vec::new();
        let mut last = start;
        loop {
            while waiting < outstanding && last < start + duration {
                self.ask(turn);
                turn += 1;
                waiting += 1;
            }
            if waiting == 0 {
                break;
            }
            let (at, asked, outcome) = self.next()?;
            last = Instant::now();
            waiting -= 1;
            let expected = self
                .wrapped
                .get(at)
                .map(|(plaintext, _)| plaintext.as_slice());
            match outcome {
                Ok(Answer::Plaintext(key)) if key.expose(|key| Some(key) == expected) => {
                    took_us.push((last - asked).as_secs_f64() * 1e6);
                }
                other => return Err(failed(format!("an unwrap: {other:?}"))),
            }
        }
        Ok(Turnover {
            items_per_s: took_us.len() as f64 / (last - start).as_secs_f64(),
            p50_us: crate::rounds::median(took_us),
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use kms_loadgen::sim::Preset;

    #[test]
    fn a_pool_unwraps_what_it_wrapped() {
        let folder = tempfile::tempdir().unwrap();
        let ports = Ports {
            service: 1,
            health: 2,
        };
        let hsm = simulate(&folder.path().join("site"), Preset::Null.model(), ports).unwrap();
        let mut unwrapper = hsm.unwrapper(2, 8, 20).unwrap();
        let turnover = unwrapper.run(16, Duration::from_millis(50)).unwrap();
        assert!(turnover.items_per_s > 0.0 && turnover.p50_us > 0.0);
        // An answer for another data key is not let pass.
        unwrapper.wrapped.iter_mut().for_each(|pair| pair.0[0] ^= 1);
        assert!(unwrapper.run(1, Duration::from_millis(1)).is_err());
    }
}
