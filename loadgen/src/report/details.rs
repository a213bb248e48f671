//! The rest of a report: what was asked for, what came back, on what, and how it was started.

use super::charts::EVENTS_MAX;
use super::markup::{Element, el};
use super::page::{Table, card, facts};
use super::units;
use crate::results::{About, Loop, Machine, MixPart, RunResult, sum};

/// What happened when; the numbers are those on the plots.
pub(super) fn events(run: &RunResult) -> Option<Element> {
    if run.events.is_empty() {
        return None;
    }
    let place =
        |unix_us: u64| units::clock((unix_us as f64 - run.about.start_unix_us as f64) / 1e6);
    let line = |(number, event): (usize, &crate::results::Event)| {
        let time = match event.until_unix_us {
            Some(until) => {
                let length = until.saturating_sub(event.at_unix_us);
                format!(
                    " {}, for {}: {}",
                    place(event.at_unix_us),
                    units::length(length),
                    event.label
                )
            }
            None => format!(" {}: {}", place(event.at_unix_us), event.label),
        };
        el("p")
            .child(el("span").class("number").text(number.to_string()))
            .text(time)
    };
    let mut section = card("What happened").attr("id", "events");
    section = section.children((1..).zip(&run.events).take(EVENTS_MAX).map(line));
    if run.events.len() > EVENTS_MAX {
        section = section.child(
            el("p")
                .class("sub")
                .text(format!("… and {} more", run.events.len() - EVENTS_MAX)),
        );
    }
    Some(section)
}

/// Counts, kinds of failure and statuses.
pub(super) fn counts(run: &RunResult) -> Element {
    let totals = &run.totals;
    let mut table = Table::new(["requests", "count", "share"]);
    let ended = totals.ended().max(1) as f64;
    let mut row = |name: &str, count: u64| {
        table.row([
            name.to_owned(),
            units::count(count),
            units::percent(count as f64 / ended),
        ]);
    };
    row("right", totals.right);
    row("failed", totals.failed());
    for (kind, count) in &totals.errors {
        row(&format!("– {kind}"), *count);
    }
    for (status, count) in &totals.statuses {
        row(&format!("answers of status {status}"), *count);
    }
    let sent = format!(
        "{} planned, {} sent; {} sent and {} received in TLS records.",
        units::count(totals.planned),
        units::count(totals.sent),
        units::bytes(totals.bytes_sent),
        units::bytes(totals.bytes_received)
    );
    card("Requests")
        .attr("id", "counts")
        .child(el("p").class("about").text(sent))
        .child(table.element())
}

/// Whether to believe the figures.
pub(super) fn validity(run: &RunResult) -> Element {
    let sent = (run.totals.planned > 0).then(|| {
        let share = units::percent(run.totals.sent as f64 / run.totals.planned as f64);
        format!("{share} of {} planned", units::rate(run.planned_per_s()))
    });
    let lag = &run.latencies.lag;
    let lag = lag.at_ns(0.99).zip(lag.max_ns()).map(|(p99, max)| {
        let [p99, max] = [p99, max].map(|ns| units::latency(ns as f64));
        format!("p99 {p99}, longest {max}")
    });
    let cpu = run.cpu.client_us_per_request(&run.totals);
    let section = card("Validity").attr("id", "validity").child(facts(vec![
        ("verdict", Some(run.validity.word().to_owned())),
        ("sent", sent),
        ("send lag", lag),
        ("stolen CPU time", stolen(run)),
        (
            "generator's CPU",
            cpu.map(|us| format!("{} a request", units::time(us * 1e3))),
        ),
    ]));
    if run.validity.is_valid() {
        return section;
    }
    let doubts = run
        .validity
        .doubts
        .iter()
        .map(|doubt| el("li").text(doubt.to_string()));
    section.child(el("div").class("notes").child(el("ul").children(doubts)))
}

/// Of all machines together; none when one did not tell.
fn stolen(run: &RunResult) -> Option<String> {
    let each: Option<Vec<u64>> = run
        .machines
        .iter()
        .map(|machine| machine.stolen_us)
        .collect();
    let us = sum(each?);
    let cores = run
        .machines
        .iter()
        .map(|machine| machine.cores_online.max(1));
    let cores = cores.fold(0, u32::saturating_add).max(1);
    let whole = (run.about.duration_us as f64 * f64::from(cores)).max(1.0);
    Some(format!(
        "{} ({} of all cores)",
        units::length(us),
        units::percent(us as f64 / whole)
    ))
}

/// What was asked for.
pub(super) fn plan(run: &RunResult) -> Element {
    let plan = &run.plan;
    let weights: f64 = plan.mix.iter().map(|part| part.weight).sum();
    let part = |part: &MixPart| {
        let batch = if part.batch > 1 {
            format!(" in batches of {}", part.batch)
        } else {
            String::new()
        };
        format!(
            "{}{batch} {}",
            part.operation,
            units::percent(part.weight / weights.max(f64::MIN_POSITIVE))
        )
    };
    let mode = match plan.mode {
        Loop::Open => "open: by schedule",
        Loop::Closed => "closed: a connection sends when it has its answer",
    };
    let some = |text: &String| (!text.is_empty()).then(|| text.clone());
    card("Plan").attr("id", "plan").child(facts(vec![
        ("loop", Some(mode.to_owned())),
        ("schedule", some(&plan.schedule)),
        ("scenario", plan.scenario.clone()),
        (
            "mix",
            Some(plan.mix.iter().map(part).collect::<Vec<_>>().join(", ")),
        ),
        ("key stream", some(&plan.key_stream)),
        ("data keys", Some(units::count(plan.working_set))),
        (
            "connections",
            Some(format!(
                "{}, {} in flight on each at most",
                units::count(plan.connections.into()),
                plan.depth
            )),
        ),
        ("their life", some(&plan.reuse)),
        (
            "TLS resumption",
            Some(if plan.resumption { "on" } else { "off" }.to_owned()),
        ),
        (
            "client certificates",
            Some(units::count(plan.identities.into())),
        ),
        (
            "length",
            Some(format!(
                "{} after {} of warm-up",
                units::length(plan.duration_us),
                units::length(plan.warm_up_us)
            )),
        ),
        ("time-out", Some(units::length(plan.timeout_us))),
        (
            "processes",
            (plan.processes != 1).then(|| format!("{}, each with this plan", plan.processes)),
        ),
    ]))
}

/// Who answered.
pub(super) fn server(run: &RunResult) -> Element {
    let server = &run.server;
    let tls = server.tls.as_ref();
    let split = server.unwraps().map(|split| {
        let shared = if split.shared > 0 {
            format!(", {} from the shared cache", units::count(split.shared))
        } else {
            String::new()
        };
        format!(
            "{} from the cache, {} joined{shared}, {} from the HSM",
            units::count(split.hits),
            units::count(split.joined),
            units::count(split.misses)
        )
    });
    card("Server").attr("id", "server").child(facts(vec![
        ("target", Some(server.target.clone())),
        ("name", server.name.clone()),
        ("version", server.version.clone()),
        ("TLS", tls.map(|tls| tls.version.clone())),
        ("cipher suite", tls.map(|tls| tls.cipher_suite.clone())),
        ("key exchange", tls.map(|tls| tls.key_exchange.clone())),
        ("certificate", tls.and_then(|tls| tls.certificate.clone())),
        ("unwraps", split),
        ("HSM operations", server.hsm_operations().map(units::count)),
        ("CPU", run.cpu.server_us.map(units::length)),
    ]))
}

/// The machines that made the load.
pub(super) fn machines(run: &RunResult) -> impl Iterator<Item = Element> {
    run.machines.iter().map(machine)
}

fn machine(machine: &Machine) -> Element {
    let Machine {
        name,
        kernel,
        cpu,
        cores,
        cores_online,
        ..
    } = machine;
    card("Machine of the generator").child(facts(vec![
        ("name", Some(name.clone())),
        ("CPU", Some(cpu.clone())),
        ("cores", Some(format!("{cores} of {cores_online} usable"))),
        ("memory", machine.memory_bytes.map(units::bytes)),
        ("kernel", Some(kernel.clone())),
        (
            "frequency governor",
            Some(
                machine
                    .governor
                    .clone()
                    .unwrap_or_else(|| "not told".to_owned()),
            ),
        ),
        ("clock source", machine.clocksource.clone()),
        (
            "load before",
            machine.load_before.map(|load| format!("{load:.2}")),
        ),
        ("stolen CPU time", machine.stolen_us.map(units::length)),
        (
            "control group: cores",
            machine.cgroup_cores.map(units::number),
        ),
        (
            "control group: memory",
            machine.cgroup_memory_bytes.map(units::bytes),
        ),
        ("memory that may be locked", machine.memlock.clone()),
        ("files that may be open", machine.nofile.clone()),
    ]))
}

/// How to do it again.
pub(super) fn command(run: &RunResult) -> Element {
    let about = &run.about;
    let mut section = card("How it was run").attr("id", "command");
    if about.merged_from.is_empty() {
        return section.child(once(&about.tool_version, about.seed, &about.command_line));
    }
    section = section.child(
        el("p")
            .class("about")
            .text(format!("Merged of {} runs.", about.merged_from.len())),
    );
    for source in about.merged_from.iter().take(SOURCES_MAX) {
        let start = units::utc(source.start_unix_us);
        let place = format!(
            "on {}, {start}, {}",
            source.machine,
            units::length(source.duration_us)
        );
        section = section.child(el("p").text(place));
        section = section.child(once(
            &source.tool_version,
            source.seed,
            &source.command_line,
        ));
    }
    section
}

/// More runs than this need no page to be told apart.
const SOURCES_MAX: usize = 100;

fn once(version: &str, seed: u64, command_line: &[String]) -> Element {
    let facts = facts(vec![
        ("version", Some(format!("kms-loadgen {version}"))),
        ("seed", Some(seed.to_string())),
    ]);
    el("div")
        .child(facts)
        .child(el("pre").text(shell(command_line)))
}

/// As a shell takes it.
fn shell(arguments: &[String]) -> String {
    let quoted = |argument: &String| {
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_=./:,+@%".contains(c);
        if !argument.is_empty() && argument.chars().all(is_plain) {
            argument.clone()
        } else {
            format!("'{}'", argument.replace('\'', "'\\''"))
        }
    };
    arguments.iter().map(quoted).collect::<Vec<_>>().join(" ")
}

/// What readers ought to know.
pub(super) fn notes(about: &About) -> Option<Element> {
    if about.notes.is_empty() {
        return None;
    }
    let notes = about.notes.iter().map(|note| el("li").text(note.clone()));
    Some(
        card("Notes")
            .class("card notes")
            .attr("id", "notes")
            .child(el("ul").children(notes)),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn command_lines_can_be_pasted() {
        for (name, arguments, want) in [
            (
                "plain",
                &["kms-loadgen", "run", "--rate=5"][..],
                "kms-loadgen run --rate=5",
            ),
            (
                "blanks",
                &["--slo", "p99<5ms, err<1%"],
                "--slo 'p99<5ms, err<1%'",
            ),
            ("quotes", &["it's"], "'it'\\''s'"),
            ("nothing", &[""], "''"),
        ] {
            let arguments: Vec<_> = arguments
                .iter()
                .map(|&argument| argument.to_owned())
                .collect();
            assert_eq!(shell(&arguments), want, "{name}");
        }
    }
}
