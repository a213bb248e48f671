//! One run of one request: what it asks, whether it may, whether its client's limits allow it now.

use crate::api::{self, Command, Fault, auth};
use crate::engine::{Call, Flow, Gather};
use crate::metrics::{Kind, Reason};
use crate::net::scratch::Scratch;
use crate::wire::http::Request;

use super::Shared;
use super::note::Book;
use super::timing::Timing;
use crate::api::reply::Reply;

/// Parses, authorises, and has the engine answer or park it; says what the request was, once it is answered. Only
/// the first run of a request spends of its client's rate.
pub(super) fn run(
    request: &Request<'_>,
    shared: &Shared,
    call: &mut Call<'_>,
    gather: &mut Gather,
    reply: &mut Reply<'_, Scratch>,
    timing: Option<&Timing>,
    book: &mut Book<'_>,
) -> (Flow, Kind) {
    let first = gather.deadline().is_none();
    let command = match api::parse(request) {
        Ok(command) => command,
        Err(fault) => {
            reply.fault(&fault);
            book.note_invalid(call, reply.status());
            return (Flow::Answered, Kind::Other);
        }
    };
    if is_audited(&command) && book.refuses(call.now) {
        let fault = Fault::new(503, "the audit log cannot be written");
        reply.fault(&fault.retry_after(1).because(Reason::AuditLog));
        return (Flow::Answered, Kind::Other);
    }
    let allowed = auth::authorise(call.role, &command).and_then(|()| {
        if first {
            call.quota.spend(items(&command), call.now)?;
        }
        Ok(())
    });
    let flow = match allowed {
        Ok(()) => {
            if let Some(timing) = timing {
                reply.tell(timing.so_far(asks_cache(&command)));
            }
            shared.engine.run(call, &command, gather, reply)
        }
        Err(fault) => {
            reply.fault(&fault);
            Flow::Answered
        }
    };
    if flow == Flow::Answered {
        book.note(call, &command, gather, reply.status());
    }
    let is_unwrap = matches!(command, Command::Decrypt { .. }) && reply.status() < 300;
    let kind = if is_unwrap {
        gather.kind()
    } else {
        Kind::Other
    };
    (flow, kind)
}

fn is_audited(command: &Command<'_>) -> bool {
    !matches!(command, Command::Health | Command::About(_))
}

/// Operations as `kms.limit.rate` counts them.
fn items(command: &Command<'_>) -> usize {
    match command {
        Command::Encrypt { body, .. }
        | Command::Decrypt { body, .. }
        | Command::Rewrap { body, .. } => body.len(),
        Command::Health | Command::About(_) => 0,
        _ => 1,
    }
}

fn asks_cache(command: &Command<'_>) -> bool {
    matches!(command, Command::Decrypt { .. } | Command::Rewrap { .. })
}
