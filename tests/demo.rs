//! `kms demo` and `kms check` as a new user runs them: the program in an empty folder.
//!
//! Must never be true: a printed line that does not work as printed.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::pedantic,
    missing_docs
)]

mod support;

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use support::node::Node;
use support::process::Process;
use support::{PATIENCE, free_port, run, try_run, wait_until};

const KMS: &str = env!("CARGO_BIN_EXE_kms");
const ANY_PORTS: [&str; 4] = ["--port", "0", "--health-port", "0"];

/// Exit code and all that `kms` said.
fn kms(folder: &Path, args: &[&str]) -> (i32, String) {
    let mut command = Command::new(KMS);
    ended(command.args(args).current_dir(folder))
}

fn ended(command: &mut Command) -> (i32, String) {
    let done = command
        .output()
        .unwrap_or_else(|error| panic!("{command:?} is needed ({error}): run ./test install"));
    let said = String::from_utf8_lossy(&[done.stdout, done.stderr].concat()).into_owned();
    (done.status.code().unwrap_or(-1), said)
}

fn once(folder: &Path) -> (i32, String) {
    kms(folder, &[&["demo", "--once"], &ANY_PORTS[..]].concat())
}

/// Replaces the value of `key` in the demo's configuration.
fn set(folder: &Path, key: &str, value: &str) {
    let file = folder.join("kms-demo/kms.properties");
    let text = fs::read_to_string(&file).unwrap();
    let lines = text.lines().map(|line| match line.split_once('=') {
        Some((found, _)) if found == key => format!("{key}={value}\n"),
        _ => format!("{line}\n"),
    });
    let changed: String = lines.collect();
    fs::write(&file, changed).unwrap();
}

#[test]
fn once_makes_a_whole_folder_and_a_second_run_uses_it() {
    let folder = tempfile::tempdir().unwrap();
    let (code, said) = once(folder.path());
    assert_eq!(code, 0, "{said}");
    let demo = folder.path().join("kms-demo");
    let mode = |file: &Path| fs::metadata(file).unwrap().permissions().mode() & 0o7777;
    assert_eq!(mode(&demo), 0o700);
    for (file, want) in [
        ("ca.crt", 0o644),
        ("kmsServer.crt", 0o644),
        ("kmsServer.key", 0o600),
        ("cmxDevice.crt", 0o644),
        ("cmxDevice.key", 0o600),
        ("cmxDevice.p12", 0o600),
        ("cmxBackend.crt", 0o644),
        ("cmxBackend.key", 0o600),
        ("cmxBackend.p12", 0o600),
        ("kmsKeystore.jks", 0o600),
        ("kms.properties", 0o600),
        ("master.keys", 0o600),
    ] {
        assert_eq!(mode(&demo.join(file)), want, "{file}");
    }
    let store = fs::read(demo.join("kmsKeystore.jks")).unwrap();
    let (code, said) = once(folder.path());
    assert!(
        code == 0 && said.contains("using the certificates"),
        "{said}"
    );
    assert_eq!(fs::read(demo.join("kmsKeystore.jks")).unwrap(), store);
}

#[test]
fn an_ordinary_user_with_8_mib_of_locked_memory_can_run_it() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new("prlimit");
    command.arg("--memlock=8388608");
    // Cargo's folder may be root's alone.
    let program = folder.path().join("kms");
    fs::copy(KMS, &program).unwrap();
    if rustix::process::geteuid().is_root() {
        std::os::unix::fs::chown(folder.path(), Some(65534), Some(65534)).unwrap();
        command.args(["setpriv", "--reuid=65534", "--regid=65534"]);
        command.args(["--clear-groups", "--bounding-set=-all", "--inh-caps=-all"]);
    }
    command.arg(&program).args(["demo", "--once"]);
    let (code, said) = ended(command.args(ANY_PORTS).current_dir(folder.path()));
    assert!(code == 0 && said.contains("It works"), "{said}");
}

#[test]
fn the_printed_lines_work_and_serve_serves_the_same_keys() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new(KMS);
    command.arg("demo").args(ANY_PORTS);
    let log = folder.path().join("demo.log");
    let mut demo = Process::start(command.current_dir(folder.path()), &log);
    let said = wait_until("the demo does not print its lines", PATIENCE, || {
        demo.assert_alive();
        Some(demo.log()).filter(|log| log.contains("serve --config"))
    });
    let joined = said.replace("\\\n", "");
    let lines: Vec<&str> = joined
        .lines()
        .map(str::trim)
        .filter(|line| line.starts_with("curl "))
        .collect();
    let wanted = [
        r#""data":{"plaintext":""#,
        r#""ciphertext":"vault:v1:"#,
        r#""state":"ready""#,
        "kms_hsm_up 1",
    ];
    assert_eq!(lines.len(), wanted.len(), "{said}");
    for (line, want) in lines.iter().zip(wanted) {
        let answer = run(folder.path(), "sh", &["-c", line]);
        assert!(answer.contains(want), "{line}: {answer}");
    }
    let unwrapped = data_of(&run(folder.path(), "sh", &["-c", lines[0]]));
    assert_eq!(demo.terminate(PATIENCE), Some(0), "{}", demo.log());

    let node = Node::start(&folder.path().join("kms-demo/kms.properties"));
    let (request, _) = lines[0].split_once("https://").unwrap();
    // The PKCS12 file holds the same certificate.
    let request = request.replace(
        "--cert ./kms-demo/cmxDevice.crt --key ./kms-demo/cmxDevice.key",
        "--cert-type P12 --cert ./kms-demo/cmxDevice.p12:kms-demo",
    );
    let again = format!(
        "{request} https://localhost:{}/v1/transit/decrypt/demo",
        node.port
    );
    let answer = run(folder.path(), "sh", &["-c", &again]);
    assert_eq!(data_of(&answer), unwrapped, "{again}: {answer}");
}

/// The `data` of an answer.
fn data_of(answer: &str) -> String {
    let (_, rest) = answer.split_once("\"data\":{").expect(answer);
    rest.split('}').next().unwrap().to_owned()
}

#[test]
fn what_is_in_the_way_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let busy = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = busy.local_addr().unwrap().port().to_string();
    fs::create_dir(folder.path().join("mine")).unwrap();
    fs::write(folder.path().join("mine/diary"), "").unwrap();
    for (name, args, want) in [
        ("busy port", ["--port", &port], "--port"),
        (
            "busy health port",
            ["--health-port", &port],
            "--health-port",
        ),
        (
            "another's folder",
            ["--dir", "mine"],
            "no whole demo folder",
        ),
        ("a file", ["--dir", "mine/diary"], "no whole demo folder"),
    ] {
        // The later of two equal flags would be refused: only the other port is free to choose.
        let mut given = vec!["demo", "--once"];
        for pair in ANY_PORTS.chunks(2).filter(|pair| pair[0] != args[0]) {
            given.extend(pair);
        }
        let (code, said) = kms(folder.path(), &[&given[..], &args].concat());
        assert!(code == 2 && said.contains(want), "{name}: {code} {said}");
    }
    assert_eq!(fs::read_dir(folder.path().join("mine")).unwrap().count(), 1);
}

#[test]
fn check_asks_the_back_end() {
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(once(folder.path()).0, 0);
    let check = |want: i32, text: &str| {
        let args = ["check", "--config", "kms-demo/kms.properties"];
        let (code, said) = kms(folder.path(), &args);
        assert!(code == want && said.contains(text), "{text}: {code} {said}");
    };
    check(0, "opens with its passphrase");
    let json = kms(
        folder.path(),
        &["check", "--json", "--config", "kms-demo/kms.properties"],
    );
    let json: serde_json::Value = serde_json::from_str(&json.1).unwrap();
    assert_eq!(json["back_end"][0]["up"], true, "{json}");
    set(folder.path(), "kms.hsm.embedded.passphrase", "another");
    check(2, "wrong passphrase");
    // Becomes an HSM that is not there.
    let file = folder.path().join("kms-demo/kms.properties");
    let text = fs::read_to_string(&file).unwrap();
    let kept = text.lines().filter(|line| !line.contains("kms.hsm."));
    let url = format!("kms.hsm.server.url=127.0.0.1:{}", free_port());
    let pin = format!("kms.hsm.fingerprint={}", "0".repeat(64));
    let more = [&url, &pin, "kms.keystore.alias=kmsServer"];
    let lines: Vec<&str> = kept.chain(more).collect();
    fs::write(&file, lines.join("\n")).unwrap();
    check(1, "is down: connecting failed: Connection refused");
    set(folder.path(), "kms.keystore.password", "wrong");
    check(2, "the store password is wrong");
}

#[test]
fn a_key_file_is_backed_up_and_restored() {
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(once(folder.path()).0, 0);
    let keyfile = |args: &[&str], want: i32, text: &str| {
        let config = ["--config", "kms-demo/kms.properties"];
        let (code, said) = kms(folder.path(), &[&["keyfile"], args, &config].concat());
        assert!(code == want && said.contains(text), "{args:?}: {said}");
    };
    keyfile(&["backup", "--to", "copy"], 0, "and opens");
    keyfile(&["backup", "--to", "copy"], 2, "not overwritten");
    keyfile(&["restore", "--from", "copy"], 2, "--force");
    keyfile(&["restore", "--from", "copy", "--force"], 0, "restored");
    assert!(folder.path().join("kms-demo/master.keys.old").exists());
    fs::write(folder.path().join("copy"), "no key file").unwrap();
    keyfile(&["restore", "--from", "copy", "--force"], 2, "copy");
    assert!(
        try_run(
            folder.path(),
            KMS,
            &["check", "--config", "kms-demo/kms.properties"],
            ""
        )
        .0
    );
}
