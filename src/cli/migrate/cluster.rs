//! The original's cache between nodes, in the new configuration.
//!
//! Called by `migrate`. All that is written of the shared cache is written here.

use super::jgroups::{Jgroups, Peer};
use super::output::Output;

/// What the original had.
pub(super) struct Cache<'a> {
    /// Where `kms.cache.type = distributed` is; None: each node was by itself.
    pub(super) distributed: Option<String>,
    /// The nodes, where jgroups.xml is there.
    pub(super) nodes: Option<&'a Jgroups>,
}

/// Lines about the cache. What the nodes share is kept elsewhere now, so the type stays `none` until that is set up;
/// the nodes are named for whoever does.
pub(super) fn write(cache: &Cache<'_>, output: &mut Output) {
    let Some(place) = &cache.distributed else {
        return;
    };
    output.heading("cache");
    output.comment(format!(
        "Was distributed ({place}). The nodes now share a cache on a Redis or Valkey of the site, which \
         cluster.properties names (docs/cluster.md); once that is there, these lines switch it on:"
    ));
    output.propose("kms.cache.type", "distributed");
    output.propose(
        "kms.distributed.cache.config.file",
        "/etc/kms/cluster.properties",
    );
    let Some(nodes) = cache.nodes else {
        return;
    };
    output.comment("The nodes of jgroups.xml and setenv.sh, with the ports of JGroups, which nothing here listens on:");
    let told = |peer: &Peer, more: &str| format!("  {} {}{more}", peer.host, peer.port);
    let own = nodes.own.iter().map(|peer| told(peer, " (this node)"));
    for line in own.chain(nodes.others.iter().map(|peer| told(peer, ""))) {
        output.comment(line);
    }
}
