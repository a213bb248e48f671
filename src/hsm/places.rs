//! Where a back end's servers are, and how connections to them are made: changed by a reload.
//!
//! Each server keeps the index that it got first, whatever is configured later: connections, health and what was
//! learnt of it go by that. Must never be true: an index that comes to mean another server; a list that grows
//! without a bound.

use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::ClientConfig;

use super::dial::Address;

/// Servers that can be known by a process in its life, those that are configured no more included.
const SERVERS_MAX: usize = 64;

/// How connections are made.
#[derive(Clone, Debug)]
pub struct Way {
    /// In the configured order; never empty.
    pub addresses: Vec<Address>,
    /// Trust, and our certificate.
    pub tls: Arc<ClientConfig>,
}

struct Known {
    all: Vec<Address>,
    /// Indices of those that are configured now, in their order.
    configured: Vec<usize>,
    /// `None` in tests alone.
    tls: Option<Arc<ClientConfig>>,
}

/// All servers that were ever configured.
pub(super) struct Places(ArcSwap<Known>);

impl Places {
    pub(super) fn new(addresses: Vec<Address>, tls: Option<Arc<ClientConfig>>) -> Self {
        Self(ArcSwap::from_pointee(Known {
            configured: (0..addresses.len()).collect(),
            all: addresses,
            tls,
        }))
    }

    /// `host:port` of each, by index.
    pub(super) fn labels(&self) -> Vec<Arc<str>> {
        self.0.load().all.iter().map(label).collect()
    }

    /// The server at `index`.
    pub(super) fn at(&self, index: usize) -> Result<Address, String> {
        let found = self.0.load().all.get(index).cloned();
        found.ok_or_else(|| "no such address is configured".to_owned())
    }

    /// Those that are configured, in their order.
    pub(super) fn configured(&self) -> Vec<Address> {
        let known = self.0.load();
        let at = |index: &usize| known.all.get(*index).cloned();
        known.configured.iter().filter_map(at).collect()
    }

    /// How connections are made now.
    pub(super) fn tls(&self) -> Option<Arc<ClientConfig>> {
        self.0.load().tls.clone()
    }

    /// From now on like this. The indices of the servers that are configured now, in their order.
    pub(super) fn renew(&self, way: Way) -> Vec<usize> {
        let known = self.0.load();
        let mut all = known.all.clone();
        let mut configured = Vec::with_capacity(way.addresses.len());
        for address in way.addresses {
            let same = |known: &Address| (&known.host, known.port) == (&address.host, address.port);
            let at = match all.iter().position(same) {
                // Another name may be expected of it.
                Some(at) => {
                    all[at] = address;
                    at
                }
                None if all.len() < SERVERS_MAX => {
                    all.push(address);
                    all.len() - 1
                }
                None => {
                    log::error!(
                        "{} is taken at the next start: no more than {SERVERS_MAX} HSMs are known to one process",
                        label(&address)
                    );
                    continue;
                }
            };
            if !configured.contains(&at) {
                configured.push(at);
            }
        }
        if configured.is_empty() {
            configured.clone_from(&known.configured);
        }
        let answer = configured.clone();
        self.0.store(Arc::new(Known {
            all,
            configured,
            tls: known.tls.is_some().then_some(way.tls),
        }));
        answer
    }
}

fn label(address: &Address) -> Arc<str> {
    format!("{}:{}", address.host, address.port).into()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use rustls::RootCertStore;
    use rustls::crypto::aws_lc_rs;
    use rustls::pki_types::ServerName;

    use super::*;

    fn address(host: &str, name: &str) -> Address {
        Address {
            host: host.to_owned(),
            port: 5696,
            server_name: ServerName::try_from(name.to_owned()).unwrap(),
        }
    }

    fn tls() -> Arc<ClientConfig> {
        let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()));
        let builder = builder.with_safe_default_protocol_versions().unwrap();
        let builder = builder.with_root_certificates(RootCertStore::empty());
        Arc::new(builder.with_no_client_auth())
    }

    #[test]
    fn a_server_keeps_its_index_whatever_is_configured() {
        let places = Places::new(vec![address("a", "a"), address("b", "b")], Some(tls()));
        for (name, wanted, indices, labels) in [
            ("the same", &["a", "b"][..], &[0, 1][..], "a b"),
            ("in another order", &["b", "a"], &[1, 0], "a b"),
            ("one less", &["b"], &[1], "a b"),
            ("one more", &["c", "b"], &[2, 1], "a b c"),
            ("it comes back", &["a"], &[0], "a b c"),
            ("twice the same", &["a", "a"], &[0], "a b c"),
        ] {
            let addresses = wanted.iter().map(|host| address(host, host)).collect();
            let way = Way {
                addresses,
                tls: tls(),
            };
            assert_eq!(places.renew(way), indices, "{name}");
            let told: Vec<String> = places.labels().iter().map(ToString::to_string).collect();
            assert_eq!(told.join(" ").replace(":5696", ""), labels, "{name}");
        }
    }

    #[test]
    fn another_name_may_be_expected_and_the_list_is_bounded() {
        let places = Places::new(vec![address("a", "a")], None);
        let renew = |addresses| {
            places.renew(Way {
                addresses,
                tls: tls(),
            })
        };
        renew(vec![address("a", "other")]);
        let name = places.at(0).unwrap().server_name;
        assert_eq!(name.to_str(), "other");
        assert!(places.tls().is_none(), "there was none");
        for n in 0..2 * SERVERS_MAX {
            renew(vec![address(&format!("h{n}"), "x")]);
        }
        assert_eq!(places.labels().len(), SERVERS_MAX);
        assert_eq!(places.configured().len(), 1, "the last that could be taken");
    }
}
