//! One run of one request: what it asks, whether it may, whether its client's limits allow it now.

use crate::api::{self, Command, auth};
use crate::engine::{Call, Flow, Gather};
use crate::net::scratch::Scratch;
use crate::wire::http::Request;

use super::Shared;
use super::timing::Timing;
use crate::api::reply::Reply;

/// Parses, authorises, and has the engine answer or park it. Only the first run of a request spends
/// of its client's rate.
pub(super) fn run(
    request: &Request<'_>,
    shared: &Shared,
    call: &mut Call<'_>,
    gather: &mut Gather,
    reply: &mut Reply<'_, Scratch>,
    timing: Option<&Timing>,
) -> Flow {
    let first = gather.deadline().is_none();
    let allowed = api::parse(request).and_then(|command| {
        auth::authorise(call.role, &command)?;
        if first {
            call.quota.spend(items(&command), call.now)?;
        }
        Ok(command)
    });
    match allowed {
        Ok(command) => {
            if let Some(timing) = timing {
                reply.tell(timing.so_far(asks_cache(&command)));
            }
            shared.engine.run(call, &command, gather, reply)
        }
        Err(fault) => {
            reply.fault(&fault);
            Flow::Answered
        }
    }
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
