//! The thread that keeps a good token in the book: looks at it, renews it, logs in again.
//!
//! Must never be true: a connection of the pool's used for it, or an unwrap that waits for it (a refused
//! one excepted); a login repeated without a pause. Started by `vault`.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::super::dial::Address;
use super::azure::{self, LoginError};
use super::book::{Book, Woken};
use super::life::{Lease, Life, Step};
use super::login::{self, Looked, Renewed};
use super::{Auth, Site};

/// How often a token is looked at whatever is known of its life: it may be revoked.
const LOOK_EVERY: Duration = Duration::from_secs(15);
/// First pause after something failed; doubles.
const AGAIN_MIN: Duration = Duration::from_secs(1);
/// Longest such pause.
const AGAIN_MAX: Duration = Duration::from_secs(30);

/// The running thread.
pub(super) struct Keeper(Mutex<Option<JoinHandle<()>>>);

impl Keeper {
    pub(super) fn start(
        site: Arc<Site>,
        auth: Auth,
        renew_before: Duration,
        timeout: Duration,
    ) -> std::io::Result<Self> {
        if let Auth::Token { token, .. } = &auth {
            site.book.give(token.clone());
        }
        let work = Work {
            site,
            auth,
            renew_before,
            timeout,
            life: None,
            look_at: Some(Instant::now()),
            again: AGAIN_MIN,
        };
        let thread = std::thread::Builder::new().name("hsm-token".into());
        let thread = thread.spawn(move || work.run())?;
        Ok(Self(Mutex::new(Some(thread))))
    }

    /// Waits for its end, which the book was told.
    pub(super) fn join(&self) {
        let thread = self.0.lock().take();
        if thread.is_some_and(|thread| thread.join().is_err()) {
            log::error!("vault: the token's thread had panicked");
        }
    }
}

/// What looking for another token came to.
enum New {
    /// One of a login.
    Leased(Lease),
    /// One from a file: it is to be looked at.
    Unknown,
    /// There is none.
    None,
}

struct Work {
    site: Arc<Site>,
    auth: Auth,
    renew_before: Duration,
    timeout: Duration,
    /// Of the token in the book, once it is known.
    life: Option<Life>,
    /// When the token is looked at next, or a login tried where there is none; `None`: it cannot be looked at.
    look_at: Option<Instant>,
    again: Duration,
}

impl Work {
    fn run(mut self) {
        loop {
            let woken = self.site.book.rest(self.wake_at());
            if woken == Woken::Stop {
                return;
            }
            // Without this thread the server would outlive its token.
            let done = catch_unwind(AssertUnwindSafe(|| match woken {
                Woken::Suspicion => self.look(true),
                _ => self.tend(),
            }));
            if done.is_err() {
                log::error!("vault: looking after the token panicked; this is a defect");
                self.look_at = Some(self.pause());
                if let Some(life) = &mut self.life {
                    life.failed(Instant::now());
                }
            }
            if woken == Woken::Suspicion {
                self.book().checked(Instant::now());
            }
        }
    }

    fn book(&self) -> &Book {
        &self.site.book
    }

    fn step(&self) -> Option<(Instant, Step)> {
        self.life.as_ref().and_then(Life::next)
    }

    fn wake_at(&self) -> Option<Instant> {
        let step = self.step().map(|(due, _)| due);
        [step, self.look_at].into_iter().flatten().min()
    }

    fn tend(&mut self) {
        let now = Instant::now();
        if self.book().current().is_none() {
            return self.log_in();
        }
        match self.step() {
            Some((due, Step::Renew)) if due <= now => self.renew(),
            Some((due, Step::LogIn)) if due <= now => self.log_in(),
            _ => self.look(false),
        }
    }

    fn deadline(&self) -> Instant {
        Instant::now() + self.timeout
    }

    /// Looks at the token; a dead one is replaced.
    fn look(&mut self, is_suspected: bool) {
        let Some(token) = self.book().current() else {
            return self.log_in();
        };
        let (site, deadline) = (Arc::clone(&self.site), self.deadline());
        let looked = login::anywhere(&site, self.timeout, |client| {
            login::look(client, &site, &token.text, deadline)
        });
        let now = Instant::now();
        self.look_at = Some(now + LOOK_EVERY);
        match looked {
            Ok(Looked::Good { lease, uses }) => {
                self.again = AGAIN_MIN;
                if self.life.is_none() {
                    tell(lease, uses);
                    self.live(Life::of(lease, now, self.renew_before));
                }
                self.book().is_good();
            }
            Ok(Looked::Blind) => {
                if self.life.is_none() && !is_suspected {
                    log::info!(
                        "vault: the token's policies do not let it look at itself; how long it lives is not known"
                    );
                }
                self.look_at = None;
                self.book().is_good();
                if is_suspected {
                    self.log_in();
                }
            }
            Ok(Looked::Dead(why)) => {
                let why = format!("the token is not good (any more) ({why})");
                self.log_in_for(Some(&why));
            }
            Ok(Looked::Misplaced(why)) => self.book().refuse(&misplaced(&why)),
            Err(why) => {
                let why = format!("the token could not be looked at: {why}");
                log::debug!("vault: {why}");
                self.book().note_trouble(&why);
                self.look_at = Some(self.pause());
            }
        }
    }

    fn renew(&mut self) {
        let (Some(token), Some(mut life)) = (self.book().current(), self.life) else {
            return;
        };
        let (site, deadline) = (Arc::clone(&self.site), self.deadline());
        let renewed = login::anywhere(&site, self.timeout, |client| {
            login::renew(client, &site, &token.text, deadline)
        });
        let now = Instant::now();
        match renewed {
            Ok(Renewed::Lease(lease)) => {
                log::debug!("vault: token renewed for {:?}", lease.ttl);
                life.renewed(lease, now, self.renew_before);
                self.book().is_good();
            }
            Ok(Renewed::Refused(why)) => {
                log::info!("vault: the token cannot be renewed any more ({why})");
                life.worn_out();
            }
            Err(why) => {
                let why = format!("the token could not be renewed: {why}");
                log::warn!("vault: {why}");
                self.book().note_trouble(&why);
                life.failed(now);
            }
        }
        self.live(life);
    }

    fn log_in(&mut self) {
        self.log_in_for(None);
    }

    /// Gets another token. `dead`: the present one is known to be good for nothing, and why.
    fn log_in_for(&mut self, dead: Option<&str>) {
        match self.new_token() {
            Ok(New::Unknown) => {
                self.again = AGAIN_MIN;
                self.life = None;
                self.look_at = Some(Instant::now());
            }
            Ok(New::Leased(lease)) => {
                self.again = AGAIN_MIN;
                let now = Instant::now();
                self.look_at = Some(now + LOOK_EVERY);
                tell(lease, None);
                self.live(Life::of(lease, now, self.renew_before));
                self.book().is_good();
            }
            Ok(New::None) => self.fail(dead, "put a new one into kms.hsm.vault.token or its file"),
            Err(LoginError::Refused(why)) => {
                let dead = dead.or(self
                    .book()
                    .current()
                    .is_none()
                    .then_some("there is no token"));
                self.fail(dead, &format!("the Azure login is refused: {why}"));
            }
            Err(LoginError::Trouble(why)) => {
                let why = format!("the Azure login failed: {why}");
                log::warn!("vault: {why}");
                self.book().note_trouble(&why);
                self.fail(dead, &why);
            }
            Err(LoginError::Stopping) => {}
        }
    }

    fn new_token(&mut self) -> Result<New, LoginError> {
        match &self.auth {
            Auth::Azure(azure) => {
                let (token, lease) = azure::log_in(&self.site, azure, self.timeout)?;
                self.site.book.give(token);
                Ok(New::Leased(lease))
            }
            Auth::Token { reread: None, .. } => Ok(New::None),
            Auth::Token {
                reread: Some(reread),
                ..
            } => {
                let token = match reread() {
                    Ok(token) => token,
                    Err(why) => {
                        log::warn!("vault: {why}");
                        return Ok(New::None);
                    }
                };
                let current = self.site.book.current();
                if current.is_some_and(|current| current.text == token) {
                    return Ok(New::None);
                }
                log::info!("vault: a new token was read");
                self.site.book.give(token);
                Ok(New::Unknown)
            }
        }
    }

    fn fail(&mut self, dead: Option<&str>, remedy: &str) {
        let now = Instant::now();
        if let Some(why) = dead {
            self.book().refuse(&format!("{why}: {remedy}"));
            self.look_at = Some(self.pause().min(now + LOOK_EVERY));
        }
        if let Some(mut life) = self.life {
            life.failed(now);
            self.live(life);
        } else if self.look_at.is_none_or(|at| at <= now) {
            self.look_at = Some(self.pause());
        }
    }

    /// When to try again what failed.
    fn pause(&mut self) -> Instant {
        let pause = self.again;
        self.again = (pause * 2).min(AGAIN_MAX);
        Instant::now() + pause
    }

    fn live(&mut self, life: Life) {
        // A login makes a new token; one that was given is not made by anybody here.
        let is_last = life.is_last() && matches!(self.auth, Auth::Token { .. });
        self.book().note_end(life.ends(), is_last);
        self.life = Some(life);
    }
}

fn tell(lease: Lease, uses: Option<u64>) {
    match (lease.ttl, lease.renewable) {
        (None, _) => log::info!("vault: token good, without an end"),
        (Some(ttl), true) => log::info!("vault: token good for {} s, renewable", ttl.as_secs()),
        (Some(ttl), false) => {
            log::warn!(
                "vault: token good for {} s and not renewable",
                ttl.as_secs()
            );
        }
    }
    if let Some(uses) = uses {
        log::warn!(
            "vault: the token is good for {uses} more request(s) only; give one without num_uses"
        );
    }
}

/// What there is to say of the token that `auth` gives, asked at one server. For `kms check`.
pub(super) fn examine(
    site: &Site,
    auth: &Auth,
    address: &Address,
    timeout: Duration,
) -> Result<String, String> {
    let token = match auth {
        Auth::Azure(azure) => {
            let (_, lease) = azure::log_in_once(site, azure, timeout)
                .map_err(|error| format!("the Azure login failed: {error}"))?;
            return Ok(format!("Azure login good for {}", span(lease)));
        }
        Auth::Token { token, .. } => token,
    };
    let deadline = Instant::now() + timeout;
    let look = |client: &mut super::http::Client| login::look(client, site, token, deadline);
    match login::at(site, address, timeout, look)? {
        Looked::Good { lease, .. } => Ok(format!("token good for {}", span(lease))),
        Looked::Blind => Ok("token good; its policies do not let it look at itself".to_owned()),
        Looked::Misplaced(why) => Err(misplaced(&why)),
        Looked::Dead(why) => Err(format!(
            "the token is not good (any more) ({why}): put a new one into kms.hsm.vault.token or its file"
        )),
    }
}

fn misplaced(why: &str) -> String {
    format!("the Vault has no such namespace ({why}): correct kms.hsm.vault.namespace")
}

fn span(lease: Lease) -> String {
    match (lease.ttl, lease.renewable) {
        (None, _) => "ever".to_owned(),
        (Some(ttl), true) => format!("{} s, renewable", ttl.as_secs()),
        (Some(ttl), false) => format!("{} s, not renewable", ttl.as_secs()),
    }
}
