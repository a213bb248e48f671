//! One state of rustls' unbuffered machine at a time, either side.
//!
//! Must never be true: bytes put behind others that waited first. Called by the pipe only.

use rustls::unbuffered::{ConnectionState, EncodeError, EncryptError, UnbufferedStatus};

use super::{BACKLOG_BYTES_MAX, PipeError, RECORD_OVERHEAD_BYTES};

/// What a turn of the TLS machine asks for.
pub(super) enum Turn {
    /// Call again.
    Again,
    /// Nothing more to do with these bytes.
    Rest,
    /// The peer has closed.
    Closed,
}

/// Handles one state of the TLS machine. Returns the bytes to discard and what to do next.
pub(super) fn turn<D>(
    status: UnbufferedStatus<'_, '_, D>,
    out: &mut Vec<u8>,
    plain: &mut [u8],
    plain_len: &mut usize,
) -> (usize, Result<Turn, PipeError>) {
    let UnbufferedStatus { mut discard, state } = status;
    let next = match state {
        Err(error) => Err(PipeError::Tls(error)),
        Ok(ConnectionState::ReadTraffic(mut traffic)) => loop {
            match traffic.next_record() {
                None => break Ok(Turn::Again),
                Some(Err(error)) => break Err(PipeError::Tls(error)),
                Some(Ok(record)) => {
                    discard += record.discard;
                    // Plaintext is shorter than its record, and both halves are of one size.
                    let Some(space) = plain[*plain_len..].get_mut(..record.payload.len()) else {
                        break Err(PipeError::Backlog);
                    };
                    space.copy_from_slice(record.payload);
                    *plain_len += record.payload.len();
                }
            }
        },
        Ok(ConnectionState::EncodeTlsData(mut data)) => {
            encode(&mut data, out).map(|()| Turn::Again)
        }
        Ok(ConnectionState::TransmitTlsData(data)) => {
            // The bytes are in `out`, which keeps their order; nothing waits for the socket here.
            data.done();
            Ok(Turn::Again)
        }
        Ok(ConnectionState::PeerClosed) => Ok(Turn::Closed),
        Ok(
            ConnectionState::BlockedHandshake
            | ConnectionState::WriteTraffic(_)
            | ConnectionState::Closed,
        ) => Ok(Turn::Rest),
        // Early data is never offered by our configurations.
        Ok(_) => Err(PipeError::Tls(rustls::Error::General(
            "unexpected TLS state".into(),
        ))),
    };
    (discard, next)
}

fn encode<D>(
    data: &mut rustls::unbuffered::EncodeTlsData<'_, D>,
    out: &mut Vec<u8>,
) -> Result<(), PipeError> {
    let at = out.len();
    let need = match data.encode(&mut []) {
        Err(EncodeError::InsufficientSize(size)) => size.required_size,
        Ok(_) | Err(EncodeError::AlreadyEncoded) => return Ok(()),
    };
    if at + need > BACKLOG_BYTES_MAX {
        return Err(PipeError::Backlog);
    }
    out.resize(at + need, 0);
    let written = data.encode(&mut out[at..]).unwrap_or(0);
    out.truncate(at + written);
    Ok(())
}

/// Encrypts `plaintext` to the end of `out`. False: TLS had something of its own to send first.
pub(super) fn encrypt<D>(
    status: UnbufferedStatus<'_, '_, D>,
    plaintext: &[u8],
    room: usize,
    out: &mut Vec<u8>,
) -> Result<bool, PipeError> {
    let mut traffic = match status.state.map_err(PipeError::Tls)? {
        ConnectionState::WriteTraffic(traffic) => traffic,
        ConnectionState::EncodeTlsData(mut data) => return encode(&mut data, out).map(|()| false),
        ConnectionState::TransmitTlsData(data) => {
            data.done();
            return Ok(false);
        }
        ConnectionState::PeerClosed => return Ok(false),
        _ => return Err(PipeError::Tls(rustls::Error::HandshakeNotComplete)),
    };
    let at = out.len();
    out.resize(at + room, 0);
    let written = match traffic.encrypt(plaintext, &mut out[at..]) {
        Err(EncryptError::InsufficientSize(size)) => {
            out.resize(at + size.required_size, 0);
            traffic.encrypt(plaintext, &mut out[at..])
        }
        other => other,
    };
    out.truncate(at + *written.as_ref().unwrap_or(&0));
    written
        .map(|_| true)
        .map_err(|_| PipeError::Tls(rustls::Error::EncryptError))
}

pub(super) fn close_notify<D>(status: UnbufferedStatus<'_, '_, D>, out: &mut Vec<u8>) -> bool {
    let Ok(ConnectionState::WriteTraffic(mut traffic)) = status.state else {
        return false;
    };
    let at = out.len();
    out.resize(at + 2 * RECORD_OVERHEAD_BYTES, 0);
    let written = traffic.queue_close_notify(&mut out[at..]).unwrap_or(0);
    out.truncate(at + written);
    written > 0
}

/// Refused before its content was looked at.
pub(super) fn is_of_record(error: &PipeError) -> bool {
    use rustls::Error::{DecryptError, InvalidMessage, PeerMisbehaved, PeerSentOversizedRecord};
    use rustls::PeerMisbehaved::IllegalMiddleboxChangeCipherSpec;
    matches!(
        error,
        PipeError::Tls(
            DecryptError
                | InvalidMessage(_)
                | PeerSentOversizedRecord
                | PeerMisbehaved(IllegalMiddleboxChangeCipherSpec)
        )
    )
}
