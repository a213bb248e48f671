//! `kms status`: what a running server says of itself, asked at its control socket or its health address.
//!
//! Exit code 0: it answered; 2: it did not. Must never be true: anything changed by asking.
#![allow(clippy::print_stdout)]

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use serde_json::Value;

use super::fail;
use crate::admin::{self, Order};
use crate::config::{self, Loaded};
use crate::wire::http::{RequestHead, ResponseDecoder, ResponseProgress, write_request};

const PATIENCE: Duration = Duration::from_secs(5);
const ANSWER_BYTES_MAX: usize = 64 * 1024;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The properties file, which names the health address.
    #[arg(long, value_name = "FILE", default_value = "/etc/kms/kms.properties")]
    config: PathBuf,
    /// Ask here instead.
    #[arg(long, value_name = "ADDRESS:PORT")]
    health: Option<SocketAddr>,
    /// Print JSON for machines.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &Arguments) -> ExitCode {
    let told = match arguments.health {
        Some(address) => by_health(address),
        None => match config::load(&arguments.config, std::env::vars_os()) {
            // The socket needs no port, and is this server's for sure.
            Ok(Loaded { config, .. }) => admin::ask(&config.control.socket, &Order::Status)
                .or_else(|_| by_health(config.health_address)),
            Err(error) => return fail(error),
        },
    };
    match told {
        Ok(status) if arguments.json => {
            println!(
                "{}",
                serde_json::to_string_pretty(&status).unwrap_or_default()
            );
            ExitCode::SUCCESS
        }
        Ok(status) => {
            print!("{}", text(&status));
            ExitCode::SUCCESS
        }
        Err(why) => fail(why),
    }
}

fn by_health(address: SocketAddr) -> Result<Value, String> {
    let address = reachable(address);
    let told = ask(address).and_then(|body| {
        serde_json::from_str(&body).map_err(|_| "its answer is no JSON".to_owned())
    });
    told.map_err(|why| {
        format!("no status from {address} (kms.health.address): {why}; is the server running?")
    })
}

/// Who listens on every address is asked on this machine's own.
fn reachable(mut address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        address.set_ip(match address.ip() {
            IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        });
    }
    address
}

fn ask(address: SocketAddr) -> Result<String, String> {
    let failed = |error: std::io::Error| error.to_string();
    let mut tcp = TcpStream::connect_timeout(&address, PATIENCE).map_err(failed)?;
    tcp.set_read_timeout(Some(PATIENCE)).map_err(failed)?;
    tcp.set_write_timeout(Some(PATIENCE)).map_err(failed)?;
    let mut request = Vec::new();
    let head = RequestHead {
        method: "GET",
        target: "/status",
        host: "localhost",
        headers: &[],
        keep_alive: false,
    };
    write_request(&mut request, &head, b"");
    tcp.write_all(&request).map_err(failed)?;
    let mut answer = Vec::new();
    let mut bounded = tcp.take(ANSWER_BYTES_MAX as u64);
    bounded.read_to_end(&mut answer).map_err(failed)?;
    match ResponseDecoder::new(false).step(&mut answer, ANSWER_BYTES_MAX, true) {
        Ok(ResponseProgress::Response(response, _)) if response.status == 200 => {
            Ok(String::from_utf8_lossy(response.body).into_owned())
        }
        Ok(ResponseProgress::Response(response, _)) => {
            Err(format!("it answered {}", response.status))
        }
        Ok(_) => Err("it ended its answer too soon".to_owned()),
        Err(_) => Err("its answer is no HTTP".to_owned()),
    }
}

fn text(status: &Value) -> String {
    let word = |name: &str| status[name].as_str().unwrap_or("?").to_owned();
    let number = |name: &str| status[name].as_u64().unwrap_or(0);
    format!(
        "{}: {} {}\n{}connections {}, waiting for the HSM {}, cached keys {}\n{}{}{}\n",
        word("state"),
        word("backend"),
        word("backend_detail"),
        servers(&status["servers"]) + &shared_cache(&status["cluster"]),
        number("connections"),
        number("waiting"),
        number("cache_entries"),
        refused(&status["reload_refused"]),
        certificates(&status["certificates"]),
        budget(&status["outage_budget"])
    )
}

/// That what serves is not what the files say.
fn refused(why: &Value) -> String {
    why.as_str().map_or_else(String::new, |why| {
        format!("THE LAST RELOAD WAS REFUSED, the state before it serves on: {why}\n")
    })
}

/// The cache that the nodes share, where there is one, and each of its servers that is not up.
fn shared_cache(cluster: &Value) -> String {
    let word = |of: &Value, name: &str| of[name].as_str().unwrap_or("?").to_owned();
    if cluster.is_null() {
        return String::new();
    }
    let list = |name: &str| cluster[name].as_array().map_or(&[][..], Vec::as_slice);
    let peers: Vec<&str> = list("peers").iter().filter_map(Value::as_str).collect();
    let others = match peers.as_slice() {
        [] => "no other node heard of".to_owned(),
        peers => format!("other nodes: {}", peers.join(", ")),
    };
    let down = list("servers")
        .iter()
        .filter(|server| server["up"].as_bool() == Some(false));
    let down = down.map(|server| {
        "  ".to_owned() + &word(server, "server") + ": " + &word(server, "why") + "\n"
    });
    let down: String = down.collect();
    format!(
        "shared cache {} as {}: {}; {others}\n{down}",
        word(cluster, "cluster"),
        word(cluster, "node"),
        word(cluster, "detail")
    )
}

/// A line for each certificate and list of revoked ones that it is time to replace; if there is none, one for the
/// certificate that is next.
fn certificates(all: &Value) -> String {
    const SOON_DAYS: i64 = 30;
    let is_list = |one: &Value| one["use"] == "client-crl";
    let line = |one: &Value| {
        let word = |name: &str| one[name].as_str().unwrap_or("?").to_owned();
        let (alias, usage) = (word("alias"), word("use"));
        let days = one["days_left"].as_i64().unwrap_or(0);
        if is_list(one) {
            let when = match days {
                ..0 => "IS OUT OF DATE: new connections of its certificates are refused".to_owned(),
                0 => "is out of date within a day".to_owned(),
                1 => "is out of date in 1 day".to_owned(),
                days => format!("is out of date in {days} days"),
            };
            return format!("list of revoked certificates of '{alias}' {when}\n");
        }
        match days {
            ..0 => format!("certificate '{alias}' ({usage}) HAS EXPIRED\n"),
            0 => format!("certificate '{alias}' ({usage}) EXPIRES within a day\n"),
            1 => format!("certificate '{alias}' ({usage}) EXPIRES in 1 day\n"),
            days @ ..=SOON_DAYS => {
                format!("certificate '{alias}' ({usage}) EXPIRES in {days} days\n")
            }
            days => {
                format!("certificate '{alias}' ({usage}) is the next to expire, in {days} days\n")
            }
        }
    };
    let all = all.as_array().map_or(&[][..], Vec::as_slice);
    let is_soon = |one: &&Value| {
        let is_near = one["days_left"].as_i64().unwrap_or(0) <= SOON_DAYS;
        if is_list(one) {
            one["due"].as_bool().unwrap_or(true)
        } else {
            is_near
        }
    };
    let soon: String = all.iter().filter(is_soon).map(line).collect();
    match all.iter().find(|one| !is_list(one)) {
        Some(first) if soon.is_empty() => line(first),
        _ => soon,
    }
}

/// A line for each HSM, where there are several, or the one is not as it should be.
fn servers(servers: &Value) -> String {
    let all = servers.as_array().map_or(&[][..], Vec::as_slice);
    let line = |server: &Value| {
        let label = server["label"].as_str().unwrap_or("?");
        let state = server["state"].as_str().unwrap_or("?");
        let live = server["live"].as_u64().unwrap_or(0);
        let why = server["trouble"].as_str().or(server["resting"].as_str());
        let why = why.map_or_else(String::new, |why| format!(": {why}"));
        format!("  {label}: {state}, connections {live}{why}\n")
    };
    match all {
        [one] if one["state"] == "active" => String::new(),
        all => all.iter().map(line).collect(),
    }
}

fn budget(budget: &Value) -> String {
    let number = |name: &str| budget[name].as_u64().unwrap_or(0);
    if number("operations") == 0 {
        return "outage budget: not known, for nothing was asked in the last minutes".to_owned();
    }
    let percent = budget["served_percent"].as_f64().unwrap_or(0.0);
    let (lead, would) = match budget["down_for_s"].as_u64() {
        Some(down_s) => (
            format!("the HSM has been down for {}", minutes(down_s)),
            "can still be served",
        ),
        None => (
            "if the HSM stopped now".to_owned(),
            "would be served at first",
        ),
    };
    let steps: Vec<String> = budget["steps"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|step| Some((step["percent"].as_u64()?, step["seconds"].as_u64()?)))
        .filter(|(_, seconds)| *seconds > 0)
        .map(|(percent, seconds)| format!("{percent} % for {}", minutes(seconds)))
        .collect();
    let steps = match steps.as_slice() {
        [] => String::new(),
        steps => format!("; at least {}", steps.join(", ")),
    };
    format!(
        "outage budget: {lead}, {percent:.1} % of the operations of the {} before {would}{steps}; nothing after {}",
        minutes(number("window_s")),
        minutes(number("ends_after_s"))
    )
}

fn minutes(seconds: u64) -> String {
    match (seconds / 60, seconds % 60) {
        (0, seconds) => format!("{seconds} s"),
        (minutes, 0) => format!("{minutes} min"),
        (minutes, seconds) => format!("{minutes} min {seconds} s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_budget_reads_as_a_sentence() {
        let step = |percent: u64, seconds: u64| serde_json::json!({"percent": percent, "seconds": seconds});
        let told = |operations: u64, down_for_s: Option<u64>| {
            budget(&serde_json::json!({
                "window_s": 300, "operations": operations, "served_percent": 93.25, "ends_after_s": 290,
                "steps": [step(90, 0), step(50, 120)], "down_for_s": down_for_s
            }))
        };
        assert_eq!(
            told(7, None),
            "outage budget: if the HSM stopped now, 93.2 % of the operations of the 5 min before would be served at \
             first; at least 50 % for 2 min; nothing after 4 min 50 s"
        );
        assert!(told(7, Some(30)).contains("the HSM has been down for 30 s, 93.2 %"));
        assert!(told(0, None).contains("not known"));
    }

    #[test]
    fn certificates_and_lists_that_are_due_have_a_line() {
        let one = |alias: &str, usage: &str, days_left: i64, due: bool| serde_json::json!({"alias": alias, "use": usage, "days_left": days_left, "due": due});
        let server = one("kmsserver", "server", 200, false);
        for (name, all, want) in [
            ("none", vec![], ""),
            (
                "nothing due",
                vec![one("ca", "client-crl", 5, false), server.clone()],
                "certificate 'kmsserver' (server) is the next to expire, in 200 days\n",
            ),
            (
                "a list",
                vec![one("ca", "client-crl", 1, true), server.clone()],
                "list of revoked certificates of 'ca' is out of date in 1 day\n",
            ),
            (
                "a list that is over, and a CA",
                vec![
                    one("ca", "client-crl", -1, true),
                    one("ca", "client-ca", 20, true),
                    server,
                ],
                "list of revoked certificates of 'ca' IS OUT OF DATE: new connections of its certificates are \
                 refused\ncertificate 'ca' (client-ca) EXPIRES in 20 days\n",
            ),
        ] {
            assert_eq!(certificates(&Value::Array(all)), want, "{name}");
        }
    }

    #[test]
    fn hsms_are_told_where_there_is_something_to_tell() {
        let one = |state: &str, trouble: Option<&str>| serde_json::json!({"label": "hsm1:5696", "state": state, "live": 2, "trouble": trouble, "resting": null});
        for (name, all, want) in [
            ("none", vec![], ""),
            ("one that is well", vec![one("active", None)], ""),
            (
                "one that is not",
                vec![one("degraded", Some("no"))],
                "  hsm1:5696: degraded, connections 2: no\n",
            ),
            (
                "two",
                vec![one("active", None), one("unknown", None)],
                "  hsm1:5696: active, connections 2\n  hsm1:5696: unknown, connections 2\n",
            ),
        ] {
            assert_eq!(servers(&all.into()), want, "{name}");
        }
    }

    #[test]
    fn a_server_on_every_address_is_asked_on_this_machine() {
        for (listens, asked) in [
            ("0.0.0.0:8444", "127.0.0.1:8444"),
            ("[::]:1", "[::1]:1"),
            ("10.0.0.1:1", "10.0.0.1:1"),
        ] {
            let listens: SocketAddr = listens.parse().unwrap_or_else(|_| ([0; 4], 0).into());
            assert_eq!(reachable(listens).to_string(), asked);
        }
    }
}
