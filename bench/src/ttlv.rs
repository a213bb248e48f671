//! Row P11: a 32-item AES-GCM Decrypt batch with associated data, our codec against `kmip-ttlv`: the
//! request encoded, the response decoded. The bytes are asserted to be the same before anything is timed.

mod peer;

use std::error::Error;
use std::fmt;
use std::hint::black_box;
use std::time::Instant;

use kms::wire::kmip::{
    Call, Decrypt, Decrypted, GCM_PARAMETERS, KmipError, ProtocolVersion, Reply, ReplyPayload,
    RequestHeader, RequestPayload, ResponseHeader, decode_response, encode_request,
    encode_response, enums::operation,
};
use kms::wire::ttlv::Fixed;
use peer::Job;

const ITEMS: u8 = 32;
const REQUEST_BYTES_MAX: usize = 64 * 1024;
const ROUNDS: usize = 9;
const OURS_PER_ROUND: u32 = 4_000;
const PEERS_PER_ROUND: u32 = 100;

/// Medians over alternating rounds, nanoseconds a message.
#[derive(Clone, Copy, Debug, serde::Serialize)]
pub struct TtlvRow {
    /// Our encoder, into the fixed buffer that a session has.
    pub encode_ns: f64,
    /// `kmip_ttlv::to_vec` of types built beforehand.
    pub peer_encode_ns: f64,
    /// Our decoder, every id, status and plaintext looked at.
    pub decode_ns: f64,
    /// `kmip_ttlv::from_slice`.
    pub peer_decode_ns: f64,
    /// Bytes of the request.
    pub request_bytes: usize,
    /// Bytes of the response.
    pub response_bytes: usize,
}

impl TtlvRow {
    /// How many times faster we encode; the target is 20.
    pub fn encode_ratio(&self) -> f64 {
        self.peer_encode_ns / self.encode_ns
    }
    /// How many times faster we decode; the target is 30.
    pub fn decode_ratio(&self) -> f64 {
        self.peer_decode_ns / self.decode_ns
    }
}

impl fmt::Display for TtlvRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "| P11 | TTLV, {ITEMS}-item Decrypt batch | encode {} B: {:.0} ns, kmip-ttlv {:.0} ns, {:.1}x (>= 20x) \
             | decode {} B: {:.0} ns, kmip-ttlv {:.0} ns, {:.1}x (>= 30x) |",
            self.request_bytes,
            self.encode_ns,
            self.peer_encode_ns,
            self.encode_ratio(),
            self.response_bytes,
            self.decode_ns,
            self.peer_decode_ns,
            self.decode_ratio(),
        )
    }
}

/// Measures the row.
///
/// # Errors
/// When one of the codecs refuses, or the two disagree: there is then nothing to compare.
pub fn measure() -> Result<TtlvRow, Box<dyn Error>> {
    let jobs = Job::batch(ITEMS);
    let theirs = peer::Request::new(&jobs);
    let mut buffer = vec![0; REQUEST_BYTES_MAX];
    let request_bytes = encode(&mut buffer, &jobs)?;
    if buffer.get(..request_bytes) != Some(&kmip_ttlv::to_vec(&theirs)?[..]) {
        return Err("the codecs write different requests".into());
    }
    let response = respond(&jobs)?;
    let opened: peer::Response = kmip_ttlv::from_slice(&response)?;
    let same = opened.items.iter().zip(&jobs).all(|(item, job)| {
        item.payload.uid == job.uid
            && item.payload.data == job.data
            && item.id == job.id.to_be_bytes()
    });
    if !same || opened.items.len() != jobs.len() || decode(&response)? != checksum(&jobs) {
        return Err("the codecs read different answers".into());
    }

    let mut rounds = [(); 4].map(|()| Vec::with_capacity(ROUNDS));
    for _ in 0..ROUNDS {
        let [ours_out, theirs_out, ours_in, theirs_in] = &mut rounds;
        ours_out.push(timed(OURS_PER_ROUND, || {
            encode(black_box(&mut buffer), black_box(&jobs))
        }));
        theirs_out.push(timed(PEERS_PER_ROUND, || {
            kmip_ttlv::to_vec(black_box(&theirs))
        }));
        ours_in.push(timed(OURS_PER_ROUND, || decode(black_box(&response))));
        theirs_in.push(timed(PEERS_PER_ROUND, || {
            kmip_ttlv::from_slice::<peer::Response>(black_box(&response))
        }));
    }
    let [encode_ns, peer_encode_ns, decode_ns, peer_decode_ns] = rounds.map(median);
    Ok(TtlvRow {
        encode_ns,
        peer_encode_ns,
        decode_ns,
        peer_decode_ns,
        request_bytes,
        response_bytes: response.len(),
    })
}

fn timed<T>(times: u32, mut work: impl FnMut() -> T) -> f64 {
    let start = Instant::now();
    for _ in 0..times {
        black_box(work());
    }
    start.elapsed().as_secs_f64() * 1e9 / f64::from(times)
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// As the HSM session does it: into a buffer that stays and never grows.
fn encode(out: &mut [u8], jobs: &[Job]) -> Result<usize, KmipError> {
    let calls = jobs.iter().map(|job| Call {
        id: Some(job.id),
        payload: RequestPayload::Decrypt(ask(job)),
    });
    encode_request(
        &mut Fixed::new(out),
        &RequestHeader::new(ProtocolVersion::V1_4),
        calls,
    )
}

fn ask(job: &Job) -> Decrypt<'_> {
    Decrypt {
        unique_identifier: Some(&job.uid),
        parameters: Some(GCM_PARAMETERS),
        data: &job.data,
        iv: Some(&job.iv),
        associated_data: &job.associated_data,
        tag: Some(&job.tag),
    }
}

fn respond(jobs: &[Job]) -> Result<Vec<u8>, KmipError> {
    let ids: Vec<_> = jobs.iter().map(|job| job.id.to_be_bytes()).collect();
    let replies = jobs.iter().zip(&ids).map(|(job, id)| Reply {
        operation: Some(operation::DECRYPT),
        unique_batch_item_id: Some(id),
        result: Ok(Some(ReplyPayload::Decrypt(Decrypted {
            unique_identifier: Some(&job.uid),
            data: &job.data,
        }))),
    });
    let header = ResponseHeader {
        version: ProtocolVersion::V1_4,
        time_stamp_unix_s: 1_795_000_000,
    };
    let mut out = Vec::new();
    encode_response(&mut out, header, replies)?;
    Ok(out)
}

/// Decodes all of a response and folds what a caller would use into one number.
fn decode(response: &[u8]) -> Result<u64, KmipError> {
    let mut sum = 0;
    for item in decode_response(response)?.items {
        let item = item?;
        let decrypted = Decrypted::decode(item.need_payload()?)?;
        sum += fold(item.id().unwrap_or_default(), decrypted.data) + u64::from(item.status);
    }
    Ok(sum)
}

fn checksum(jobs: &[Job]) -> u64 {
    jobs.iter().map(|job| fold(job.id, &job.data)).sum()
}

fn fold(id: u64, data: &[u8]) -> u64 {
    id + u64::from(data.first().copied().unwrap_or_default()) + data.len() as u64
}
