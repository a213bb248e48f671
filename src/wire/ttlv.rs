//! ttlv
