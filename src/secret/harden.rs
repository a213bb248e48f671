//! Process hardening at start: no core dumps, not dumpable.
