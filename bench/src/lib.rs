//! Measurements of this program against its peers; `compare` prints them as one table.

pub mod ttlv;
