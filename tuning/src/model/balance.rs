//! How a load balancer spreads requests over nodes, and what that does to their caches.
//!
//! By hash of the client's address a key always meets the same node: the caches of all nodes act as one.
//! At random, or by least connections, each node sees every key at a part of its rate. Source: splitting of
//! Poisson streams. Error: none of its own. Domain: keys that belong to one client, or keys that all
//! nodes are asked for alike.

use super::popularity::Popularity;

/// What a node sees.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Balance {
    /// A key always meets the same node.
    Hash,
    /// Any node.
    Spread,
}

impl Balance {
    /// The keys that one of `nodes` is asked for.
    pub fn keys_of_node(self, popularity: &Popularity, nodes: f64) -> Popularity {
        match self {
            Self::Hash => popularity.split(nodes),
            Self::Spread => popularity.clone(),
        }
    }

    /// Share of all requests that the busiest node gets: with a hash, the most popular key is on one node.
    pub fn busiest(self, popularity: &Popularity, nodes: f64) -> f64 {
        match self {
            Self::Hash => 1.0 / nodes + popularity.hottest() * (1.0 - 1.0 / nodes),
            Self::Spread => 1.0 / nodes,
        }
    }

    /// Nodes that a key meets when it is asked for `reads` times.
    pub fn nodes_met(self, nodes: f64, reads: f64) -> f64 {
        match self {
            Self::Hash => 1.0,
            Self::Spread => nodes * (1.0 - (1.0 - 1.0 / nodes).powf(reads)),
        }
    }
}
