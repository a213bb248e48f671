//! What the audit log is told of a request once its answer is written: a line an operation, inside batches too.

use std::time::{Duration, Instant};

use crate::api::Command;
use crate::audit::{Chain, Record, Who};
use crate::engine::gather::{Item, Source};
use crate::engine::{Call, Gather};
use crate::wire::base64;
use crate::wire::transit::CryptBody;

/// Where the lines of one run go, and what the call does not know.
pub(super) struct Book<'a> {
    /// None: there is no audit log.
    chain: Option<&'a mut Chain>,
    address: &'a str,
    request: [u8; 16],
    /// From a request's last byte to its deadline.
    request_timeout: Duration,
}

impl<'a> Book<'a> {
    pub(super) fn new(
        chain: Option<&'a mut Chain>,
        address: &'a str,
        request: [u8; 16],
        request_timeout: Duration,
    ) -> Self {
        Self {
            chain,
            address,
            request,
            request_timeout,
        }
    }

    /// Whether the log cannot be written, so that nothing may be answered.
    pub(super) fn refuses(&mut self, now: Instant) -> bool {
        let chain = self.chain.as_mut();
        chain.is_some_and(|chain| chain.refuses(now))
    }

    /// A request that asked for nothing there is.
    pub(super) fn note_invalid(&mut self, call: &Call<'_>, status: u16) {
        self.put(call, "invalid", "", &Told::whole(status));
    }

    /// A request that was answered with `status`.
    pub(super) fn note(
        &mut self,
        call: &Call<'_>,
        command: &Command<'_>,
        gather: &Gather,
        status: u16,
    ) {
        if self.chain.is_none() {
            return;
        }
        let whole = Told::whole(status);
        match command {
            Command::Decrypt { key, body } => {
                self.items(call, ("decrypt", key), body, gather, status);
            }
            Command::Rewrap { key, body } => {
                self.items(call, ("rewrap", key), body, gather, status);
            }
            Command::Encrypt { key, body } => {
                self.items(call, ("encrypt", key), body, gather, status);
            }
            Command::Datakey { key, .. } => {
                let mut text = String::new();
                let told = gather.items.iter().find_map(|item| match item {
                    Item::Sealed { version, bytes } if status < 300 => Some((*version, bytes)),
                    _ => None,
                });
                let told = match told {
                    Some((version, bytes)) => Told {
                        version,
                        ciphertext: Some(base64_of(bytes, &mut text)),
                        source: "hsm",
                        ..whole
                    },
                    None => whole,
                };
                self.put(call, "datakey", key, &told);
            }
            Command::ListKeys(_) => self.put(call, "list", "", &whole),
            Command::RotateKey { key, .. } => self.put(call, "rotate", key, &whole),
            Command::ConfigKey { key, .. } => self.put(call, "config", key, &whole),
            Command::DeleteKey { key } => self.put(call, "delete", key, &whole),
            Command::CreateKey { key, .. } => self.put(call, "create", key, &whole),
            Command::ReadKey { key, .. } => self.put(call, "read", key, &whole),
            Command::LoginAs { .. } => self.put(call, "login", "", &whole),
            // They tell nothing but what the server is.
            Command::Health | Command::About(_) => {}
        }
    }

    fn items(
        &mut self,
        call: &Call<'_>,
        (operation, key): (&str, &str),
        body: &CryptBody<'_>,
        gather: &Gather,
        status: u16,
    ) {
        let mut text = String::new();
        for (index, asked) in body.items().enumerate() {
            let item = gather.items.get(index);
            let own = match item {
                Some(Item::Failed(fault)) if body.batch && fault.status >= 400 => fault.status,
                Some(Item::Failed(_)) => status.max(400),
                _ if body.batch && !gather.items.is_empty() => 200,
                _ => status,
            };
            let mut told = Told {
                item: body.batch.then_some(index),
                ..Told::whole(own)
            };
            if operation != "encrypt"
                && let Some((version, sealed)) = split(asked.text.as_str())
            {
                (told.version, told.ciphertext) = (version, Some(sealed));
            } else if let Some(Item::Sealed { version, bytes }) = item {
                (told.version, told.ciphertext) = (*version, Some(base64_of(bytes, &mut text)));
            }
            if own < 300 {
                told.source = source(gather, index);
            }
            self.put(call, operation, key, &told);
        }
    }

    fn put(&mut self, call: &Call<'_>, operation: &str, key: &str, told: &Told<'_>) {
        let Some(chain) = &mut self.chain else {
            return;
        };
        let arrived = call.deadline.checked_sub(self.request_timeout);
        let took = arrived.map_or(Duration::ZERO, |arrived| arrived.elapsed());
        chain.record(&Record {
            request: &self.request,
            who: Who {
                alias: &call.pin.alias,
                subject: &call.pin.subject,
                fingerprint: &call.pin.fingerprint,
                role: &call.role.name,
                address: self.address,
            },
            operation,
            key,
            version: told.version,
            ciphertext: told.ciphertext,
            item: told.item,
            status: told.status,
            source: told.source,
            took_us: u64::try_from(took.as_micros()).unwrap_or(u64::MAX),
        });
    }
}

/// What differs from item to item.
struct Told<'a> {
    version: u32,
    ciphertext: Option<&'a str>,
    item: Option<usize>,
    status: u16,
    source: &'a str,
}

impl Told<'_> {
    fn whole(status: u16) -> Self {
        Self {
            version: 0,
            ciphertext: None,
            item: None,
            status,
            source: "",
        }
    }
}

/// Without anything gathered, the cache had it all.
fn source(gather: &Gather, index: usize) -> &'static str {
    match gather.source(index) {
        Source::Cache => "cache",
        Source::Joined => "joined",
        Source::Hsm => "hsm",
        Source::Stale => "stale",
        Source::Shared => "shared",
    }
}

/// `vault:v<N>:` and the rest.
fn split(text: &str) -> Option<(u32, &str)> {
    let (version, sealed) = text.strip_prefix("vault:v")?.split_once(':')?;
    Some((version.parse().ok()?, sealed))
}

fn base64_of<'a>(bytes: &[u8], text: &'a mut String) -> &'a str {
    let mut encoded = Vec::new();
    base64::put(&mut encoded, bytes);
    *text = String::from_utf8(encoded).unwrap_or_default();
    text
}
