//! `/metrics`: what is counted under which label, in a form that Prometheus' own parser takes, as docs/metrics.md says.
// Counts are whole numbers far below 2^52.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::float_cmp,
    clippy::cast_precision_loss
)]

#[path = "metrics/document.rs"]
mod document;
mod service_support;

use std::sync::atomic::{AtomicBool, Ordering};

use kms::cli::pki::Issued;
use kms::hsm::HsmError;
use service_support::client::{Client, request};
use service_support::fake_hsm::decrypt_body;
use service_support::on_disk::{PLAINTEXT, UNWRAP, issue, keystore, replace, start, store, wrap};
use service_support::scrape::{figures, get, judge, scrape};
use service_support::{DECRYPT, ENCRYPT, House, Running, client, file, holding, unhurried, until};

fn duration_count(kind: &str) -> String {
    format!("kms_request_duration_seconds_count{{kind=\"{kind}\"}}")
}

/// Each some hits later than the one before.
fn scrapes_under_load(running: &Running, body: &str) -> Vec<String> {
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            let mut client = running.device();
            let over = &over;
            scope.spawn(move || {
                while !over.load(Ordering::Relaxed) {
                    assert_eq!(client.post(UNWRAP, body).status, 200);
                }
            });
        }
        let hits = |text: &str| figures(text)[&duration_count("hit")];
        let mut scrapes: Vec<String> = Vec::new();
        while scrapes.len() < 4 {
            let next = get(running, "/metrics");
            let last = scrapes.last();
            if last.is_none_or(|last| hits(&next) > hits(last) + 20.0) {
                scrapes.push(next);
            }
        }
        over.store(true, Ordering::Relaxed);
        scrapes
    })
}

/// Name, how a scrape is spoilt, what must be said of it.
struct Wrong(&'static str, fn(&str) -> String, &'static str);

const WRONG: [Wrong; 5] = [
    Wrong(
        "no help",
        |text| text.replace("# HELP kms_clients", "# HELP kms_client"),
        "does not follow its HELP",
    ),
    Wrong(
        "another count",
        |text| {
            let count = format!("{} ", duration_count("hit"));
            text.replace(&count, &format!("{count}1"))
        },
        "_count is not that of the last bucket",
    ),
    Wrong(
        "not cumulative",
        |text| text.replace("le=\"0.000005\"} 0", "le=\"0.000005\"} 7"),
        "not cumulative",
    ),
    Wrong(
        "a counter without its end",
        |text| text.replace("kms_handshakes_total", "kms_handshakes"),
        "a counter ends in _total",
    ),
    Wrong(
        "not escaped",
        |text| text.replace(r#"\"new\""#, r#""new""#),
        "",
    ),
];

#[test]
fn prometheus_own_parser_takes_it_and_counters_never_fall() {
    let running = start("kms.audit.file=audit.log\nkms.audit.key.file=audit.key");
    let house = &running.house;
    // A label that has to be escaped.
    let device = r#"cmxDevice "new"\2"#;
    let pins = [(device, &house.device), ("cmxBackend", &house.backend)];
    let server = issue(house, "kmsServer", true);
    replace(&store(house), &keystore(&server, &pins, "secret"));
    running.node.reloader().reload().unwrap();
    let body = wrap(&running, PLAINTEXT);
    let scrapes = scrapes_under_load(&running, &body);
    assert!(
        scrapes[0].contains(r#"alias="cmxdevice \"new\"\\2""#),
        "{}",
        scrapes[0]
    );
    let all: Vec<&str> = scrapes.iter().map(String::as_str).collect();
    judge(house.dir.path(), &all).unwrap();

    for Wrong(name, spoil, want) in WRONG {
        let spoilt = spoil(all[0]);
        let found = judge(house.dir.path(), &[&spoilt, all[0]]).expect_err(name);
        assert!(found.contains(want), "{name}: {found}");
    }
    let found = judge(house.dir.path(), &[all[3], all[0]]).unwrap_err();
    assert!(found.contains("fell from"), "{found}");
    running.stop();
}

#[test]
fn durations_are_told_by_what_a_request_was() {
    let running = holding("kms.threads=1", unhurried());
    let hsm = running.hsm();
    // One asks, two join; then the cache has it.
    let mut clients: Vec<Client> = (0..3).map(|_| running.device()).collect();
    for (at, client) in clients.iter_mut().enumerate() {
        client.send(request("POST", DECRYPT, &decrypt_body(b"second")));
        let joined = at as u64;
        until("it joins", || {
            running.node.shared().metrics.sum(|worker| &worker.joins) == joined
        });
        hsm.wait_for_held(1);
    }
    hsm.release_all();
    for client in &mut clients {
        assert_eq!(client.answer().status, 200);
    }
    for _ in 0..4 {
        assert_eq!(
            clients[0].post(DECRYPT, &decrypt_body(b"second")).status,
            200
        );
    }
    for (path, body, status) in [
        (ENCRYPT, "{\"plaintext\":\"YQ==\"}", 200),
        (DECRYPT, "{\"ciphertext\":\"vault:v1:AAAA\"}", 400),
        ("/v1/nothing", "", 404),
        ("/v1/transit/keys/new", "", 403),
    ] {
        assert_eq!(clients[0].post(path, body).status, status, "{path}");
    }
    // The last answer is sent a moment before it is counted.
    until("all is counted", || {
        scrape(&running)[&duration_count("other")] == 4.0
    });
    let seen = scrape(&running);
    for (kind, count) in [("hit", 4.0), ("joined", 2.0), ("miss", 2.0), ("other", 4.0)] {
        assert_eq!(seen[&duration_count(kind)], count, "{kind}");
        let sum = seen[&format!("kms_request_duration_seconds_sum{{kind=\"{kind}\"}}")];
        assert!(sum > 0.0 && sum < 60.0, "{kind}: {sum}");
    }
    running.stop();
}

/// What the HSM does, and what that is counted under.
fn hsm_failures() -> [(HsmError, &'static str, &'static str); 8] {
    let refused = HsmError::Refused {
        reason: 1,
        text: "no".into(),
    };
    [
        (
            HsmError::Unavailable("gone".into()),
            "hsm_unreachable",
            "503",
        ),
        (HsmError::TimedOut, "hsm_timeout", "504"),
        (HsmError::Busy, "hsm_busy", "503"),
        (HsmError::Overloaded, "queue_full", "503"),
        (HsmError::Protocol("nonsense"), "hsm_protocol", "502"),
        (HsmError::NoLockedMemory, "locked_memory", "503"),
        (HsmError::Abandoned, "stopping", "503"),
        (refused, "hsm_refused", "502"),
    ]
}

#[test]
fn what_was_not_done_is_told_by_its_reason() {
    let running = Running::fake("kms.limit.rate=1000", unhurried());
    let (mut device, hsm) = (running.device(), running.hsm());
    let single = decrypt_body(b"one");
    assert_eq!(device.post(DECRYPT, &single).status, 200);
    let others = |from: usize| {
        let items: Vec<String> = (from..from + 3)
            .map(|n| decrypt_body(format!("item {n}").as_bytes()))
            .collect();
        format!("{{\"batch_input\":[{}]}}", items.join(","))
    };
    let mut number = 0;
    for (error, reason, status) in hsm_failures() {
        hsm.fail(Some(error));
        number += 10;
        let one = decrypt_body(format!("single {number}").as_bytes());
        assert_eq!(
            device.post(DECRYPT, &one).status.to_string(),
            status,
            "{reason}"
        );
        let batch = device.post(DECRYPT, &others(number));
        assert!(batch.status >= 400, "{reason}: {}", batch.body);
        let name = format!("kms_failures_total{{reason=\"{reason}\",status=\"{status}\"}}");
        assert_eq!(
            scrape(&running)[&name],
            4.0,
            "{reason}: one, and three items"
        );
    }
    hsm.fail(None);
    let too_many = format!(
        "{{\"batch_input\":[{}]}}",
        vec![single.as_str(); 400].join(",")
    );
    until("the rate is reached", || {
        device.post(DECRYPT, &too_many).status == 429
    });
    let seen = scrape(&running);
    let limited = seen["kms_failures_total{reason=\"rate_limit\",status=\"429\"}"];
    assert_eq!(limited, seen["kms_requests_limited_total"]);
    let client_fault = device.post(DECRYPT, "{\"ciphertext\":\"vault:v1:AAAA\"}");
    assert!(matches!(client_fault.status, 400 | 429));
    let others = seen["kms_failures_total{reason=\"other\",status=\"5xx\"}"];
    assert_eq!(others, 0.0);
    running.stop();
}

#[test]
fn handshakes_are_told_by_kind_and_by_reason() {
    let running = start("");
    let house = &running.house;
    let expired = expired(house);
    let config = client::config(house, Some(&house.device), rustls::ALL_VERSIONS);
    let body = wrap(&running, PLAINTEXT);
    for _ in 0..2 {
        let tcp = client::tcp(running.address());
        let mut client = Client::with(std::sync::Arc::clone(&config), tcp).unwrap();
        assert_eq!(client.post(UNWRAP, &body).status, 200);
    }
    let pins = [
        ("cmxDevice", &house.device),
        ("cmxDevice-old", &expired),
        ("cmxBackend", &house.backend),
    ];
    let server = issue(house, "kmsServer", true);
    replace(&store(house), &keystore(&server, &pins, "secret"));
    running.node.reloader().reload().unwrap();
    for identity in [None, Some(&house.stranger), Some(&expired)] {
        let met = Client::connect(house, identity, running.address());
        // With TLS 1.3 the refusal comes behind the client's own end.
        let refused = met.and_then(|mut client| {
            client.try_send(request("POST", UNWRAP, &body))?;
            client.try_answer()
        });
        assert!(refused.is_err());
    }
    let mut nonsense = client::tcp(running.address());
    std::io::Write::write_all(&mut nonsense, b"GET / HTTP/1.1\r\n\r\n").unwrap();
    drop(client::tcp(running.address()));
    for (reason, count) in [
        ("no_certificate", 1.0),
        ("unknown_certificate", 1.0),
        ("expired", 1.0),
        ("malformed", 1.0),
        ("closed", 1.0),
    ] {
        let name = format!("kms_handshakes_failed_total{{reason=\"{reason}\"}}");
        until(reason, || scrape(&running)[&name] == count);
    }
    let seen = scrape(&running);
    let count = |kind| seen[&format!("kms_handshake_duration_seconds_count{{kind=\"{kind}\"}}")];
    assert_eq!(count("resumed"), 1.0);
    assert_eq!(
        count("full") + count("resumed"),
        seen["kms_handshakes_total"]
    );
    running.stop();
}

fn expired(house: &House) -> Issued {
    let leaf = kms::cli::pki::Leaf {
        common_name: "cmxDeviceOld",
        sans: &[],
        server: false,
        client: true,
        days: 1,
    };
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap();
    let day = std::time::Duration::from_hours(24);
    house
        .authority
        .issue_between(&leaf, now.saturating_sub(3 * day), now.saturating_sub(day))
        .unwrap()
}

#[test]
fn the_node_tells_of_reloads_orders_audit_and_certificates() {
    let audit = "kms.audit.file=audit.log\nkms.audit.key.file=audit.key";
    let running = start(&format!(
        "kms.control.socket=control.sock\nkms.threads=1\n{audit}"
    ));
    let house = &running.house;
    let socket = file(house, "control.sock");
    let body = wrap(&running, PLAINTEXT);
    assert_eq!(running.device().post(UNWRAP, &body).status, 200);
    kms::admin::ask(&socket, &kms::admin::Order::Reload).unwrap();
    let before = scrape(&running);
    std::fs::write(store(house), "nonsense").unwrap();
    kms::admin::ask(&socket, &kms::admin::Order::Reload).unwrap_err();
    let after = scrape(&running);
    let text = std::fs::read_to_string(file(house, "audit.log")).unwrap();
    for (name, seen, want) in [
        ("kms_config_last_reload_successful", &before, 1.0),
        ("kms_config_last_reload_successful", &after, 0.0),
        ("kms_reloads_total{outcome=\"done\"}", &after, 1.0),
        (
            "kms_control_orders_total{order=\"reload\",outcome=\"done\"}",
            &after,
            1.0,
        ),
        (
            "kms_control_orders_total{order=\"reload\",outcome=\"refused\"}",
            &after,
            1.0,
        ),
        (
            "kms_control_orders_total{order=\"purge\",outcome=\"done\"}",
            &after,
            0.0,
        ),
        ("kms_audit_enabled", &after, 1.0),
        ("kms_audit_lines_total", &after, text.lines().count() as f64),
        ("kms_audit_bytes_total", &after, text.len() as f64),
        ("kms_state{state=\"ready\"}", &after, 1.0),
        ("kms_state{state=\"draining\"}", &after, 0.0),
        ("kms_cache_entries", &after, 1.0),
        ("kms_cache_entries_max", &after, 1000.0),
        ("kms_connections_max", &after, 64.0),
    ] {
        assert_eq!(seen[name], want, "{name}");
    }
    let reloaded = "kms_config_last_reload_success_timestamp_seconds";
    assert_eq!(before[reloaded], after[reloaded]);
    running.stop();
}

#[test]
fn times_are_those_of_the_calendar() {
    let running = start("");
    let seen = scrape(&running);
    let build = format!(
        "kms_build_info{{version=\"{}\",backend=\"embedded\"}}",
        env!("CARGO_PKG_VERSION")
    );
    assert_eq!(seen[&build], 1.0);
    let (day, end) = (86_400.0, "{alias=\"cmxdevice\",use=\"client\"}");
    let left = seen[&format!("kms_certificate_expires_in_seconds{end}")];
    assert!((day..2.0 * day + 60.0).contains(&left), "{left}");
    let unix = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap();
    let at = seen[&format!("kms_certificate_not_after_seconds{end}")];
    assert!((at - left - unix.as_secs_f64()).abs() < 60.0, "{at} {left}");
    let started = seen["process_start_time_seconds"] + seen["kms_uptime_seconds"];
    assert!((started - unix.as_secs_f64()).abs() < 60.0, "{started}");
    assert!(seen["process_resident_memory_bytes"] > 1e6 && seen["process_open_fds"] > 5.0);
    running.stop();
}
