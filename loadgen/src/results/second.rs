//! A run over time, a second of wall clock each.

use std::fmt;
use std::io::Read;

use flate2::read::ZlibDecoder;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::{Deserializer, Serializer, V2DeflateSerializer};

use super::{Errors, Latency, Quantiles};

/// What happened in one second.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Second {
    /// Which: whole seconds since 1970.
    pub unix_s: u64,
    /// Requests that the schedule called for in it; in a closed loop those that were sent.
    pub planned: u64,
    /// Requests written in it.
    pub sent: u64,
    /// Right answers that came in it.
    pub right: u64,
    /// Failures that became known in it.
    pub errors: Errors,
    /// Latency of the right answers that came in it: from the intended send time, in a closed loop
    /// from the actual one. None when there was none.
    pub latency: Option<Quantiles>,
    /// The longest send lag in it.
    pub lag_max_ns: u64,
    /// Handshakes that ended well in it.
    pub handshakes: u64,
    /// Connections open at its end.
    pub connections: u64,
    /// Unwraps that the server served from its cache in it.
    pub hits: Option<u64>,
    /// Unwraps that joined another's fetch.
    pub joined: Option<u64>,
    /// Unwraps from the cache that the nodes share.
    pub shared: Option<u64>,
    /// Unwraps that the server asked its HSM for.
    pub misses: Option<u64>,
    /// Operations that the HSM did in it.
    pub hsm_operations: Option<u64>,
    /// CPU time of the generator in it.
    pub client_cpu_us: Option<u64>,
    /// CPU time of the server in it.
    pub server_cpu_us: Option<u64>,
    /// The latencies themselves, so that runs can be merged.
    pub interval: Option<Interval>,
}

impl Second {
    /// Sets the latency of this second from its histogram.
    pub fn set_latency(&mut self, latency: &Latency) {
        self.latency = Quantiles::of(latency);
        self.interval = Interval::of(latency);
    }
}

/// A histogram of ours has 150 kB of counts, each of at most nine bytes.
const UNPACKED_BYTES_MAX: u32 = 1 << 20;

/// The latencies of one second, packed: a few hundred bytes to two kilobytes instead of 150, so that
/// a long run can be kept.
#[derive(Clone, PartialEq, Eq)]
pub struct Interval(Box<[u8]>);

impl Interval {
    /// Packs a histogram; none when it is empty.
    pub fn of(latency: &Latency) -> Option<Self> {
        if latency.is_empty() {
            return None;
        }
        let mut packed = Vec::new();
        // Writing to a Vec cannot fail, and no count comes near 2^63.
        V2DeflateSerializer::new()
            .serialize(latency.histogram(), &mut packed)
            .ok()?;
        Some(Self(packed.into_boxed_slice()))
    }

    /// Takes what [`Interval::of`] made; none when it is no packed histogram or claims to be larger than any.
    pub fn from_packed(packed: Vec<u8>) -> Option<Self> {
        const HEADER: usize = 8;
        // Cookie and length, then a zlib stream that begins with a cookie and a length of its own. The
        // decoder would allocate by that.
        let mut inner = [0; HEADER];
        ZlibDecoder::new(packed.get(HEADER..)?)
            .read_exact(&mut inner)
            .ok()?;
        let [_, _, _, _, length @ ..] = inner;
        let is_sane = u32::from_be_bytes(length) <= UNPACKED_BYTES_MAX;
        is_sane.then(|| Self(packed.into_boxed_slice()))
    }

    /// The bytes: HdrHistogram's compressed V2 form.
    pub fn packed(&self) -> &[u8] {
        &self.0
    }

    /// Unpacks it; none when the bytes are no histogram.
    pub fn unpack(&self) -> Option<Histogram<u64>> {
        Deserializer::new().deserialize(&mut &self.0[..]).ok()
    }
}

impl fmt::Debug for Interval {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Interval({} bytes)", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_second_keeps_its_histogram_small_and_whole() {
        let mut latency = Latency::new();
        let mut second = Second::default();
        second.set_latency(&latency);
        assert_eq!((second.latency, second.interval.is_some()), (None, false));
        for step in 0..20_000_u64 {
            latency.record(Duration::from_micros(100 + (step * step) % 3_000));
        }
        second.set_latency(&latency);
        let interval = second.interval.unwrap();
        assert!(interval.0.len() < 8_000, "{interval:?}");
        assert_eq!(interval.unpack().unwrap(), *latency.histogram());
        assert_eq!(second.latency.unwrap().count, 20_000);
    }
}
