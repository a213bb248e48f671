//! Tomcat with a servlet of ours over a `ConcurrentHashMap`: what the usual way to build such a service costs.
//!
//! The system's service is not touched: this is a process of our own with a folder of its own. TLS is JSSE's,
//! Tomcat's default; Debian 12's tomcat-native is older than what its Tomcat takes.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::time::Duration;

use kms_loadgen::stream::Uniform;
use kms_loadgen::{Driver, Exchanges, Plan, Until};

use super::{Contender, Site, ours};
use crate::credentials::write_private;
use crate::server::{Server, StartError, find_program, free_address};

const REMEDY: &str =
    "apt-get install tomcat10-common, or set KMS_BENCH_TOMCAT to its CATALINA_HOME";
const JAVA_REMEDY: &str = "apt-get install openjdk-17-jdk-headless, or set JAVA_HOME";
/// Where Debian has it.
const HOME: &str = "/usr/share/tomcat10";
const SERVLET: &str = include_str!("../../tomcat/TransitServlet.java");
const SERVER_XML: &str = include_str!("../../tomcat/server.xml");
const WEB_XML: &str = include_str!("../../tomcat/web.xml");
/// Connections of the warm-up and their share of it. Few at first: handshakes of a cold JVM take their time.
const WARM_UP: [(usize, u32); 3] = [(1, 1), (16, 1), (64, 2)];
/// Heap without any data keys, MiB, and data keys of one more.
const HEAP_MIB: usize = 256;
const KEYS_A_MIB: usize = 1024;

/// Starts it with the data keys of `exchanges` in its map, and keeps it busy for `warm_up` so that what is
/// measured is compiled.
pub fn start(
    site: &Site,
    exchanges: Arc<Exchanges>,
    warm_up: Duration,
) -> Result<Contender, StartError> {
    let home = home()?;
    let (java, javac) = (java("java")?, java("javac")?);
    let folder = site.server_folder("tomcat")?;
    let classes = folder.join("service/WEB-INF/classes");
    for place in [&classes, &folder.join("conf"), &folder.join("temp")] {
        fs::create_dir_all(place)?;
    }
    compile(&javac, &home, &folder, &classes)?;
    let address = free_address()?;
    let filled = |template: &str| {
        template
            .replace("{folder}", &folder.display().to_string())
            .replace("{port}", &address.port().to_string())
            .replace("{password}", ours::PASSWORD)
    };
    write_private(
        &folder.join("conf/server.xml"),
        filled(SERVER_XML).as_bytes(),
    )?;
    fs::write(folder.join("service/WEB-INF/web.xml"), filled(WEB_XML))?;
    write_private(
        &folder.join("keystore.p12"),
        &ours::keystore(&site.credentials)?,
    )?;
    write_private(&folder.join("keys"), &keys(&exchanges)?)?;
    let heap = HEAP_MIB + exchanges.len() / KEYS_A_MIB;
    let jars = ["bin/bootstrap.jar", "bin/tomcat-juli.jar"].map(|jar| home.join(jar));
    let mut command = Command::new(&java);
    command
        .arg(format!("-Xms{heap}m"))
        .arg(format!("-Xmx{heap}m"))
        .arg(format!("-Dcatalina.home={}", home.display()))
        .arg(format!("-Dcatalina.base={}", folder.display()))
        .arg(format!(
            "-Djava.io.tmpdir={}",
            folder.join("temp").display()
        ))
        .arg("-classpath")
        .arg(class_path(&jars)?)
        .args(["org.apache.catalina.startup.Bootstrap", "start"]);
    let contender = Contender {
        name: "Tomcat".into(),
        about: format!(
            "{}, JSSE, NIO connector as it is by default, a servlet over a ConcurrentHashMap, {heap} MiB of heap; no \
             roles, no audit; kept busy for {:.0} s before the first round",
            version(&java, &home),
            warm_up.as_secs_f64()
        ),
        server: Server::start("Tomcat", command, address, &folder)?,
        target: site.target(address, false)?,
        exchanges,
        request_log: None,
    };
    compiled(&contender, warm_up)?;
    Ok(contender)
}

fn home() -> Result<PathBuf, StartError> {
    let set = std::env::var_os("KMS_BENCH_TOMCAT").map(PathBuf::from);
    let mut places = set.into_iter().chain([PathBuf::from(HOME)]);
    places
        .find(|home| home.join("bin/bootstrap.jar").is_file())
        .ok_or(StartError::NotInstalled {
            program: "Tomcat 10",
            remedy: REMEDY,
        })
}

fn java(program: &'static str) -> Result<PathBuf, StartError> {
    let set =
        std::env::var_os("JAVA_HOME").map(|home| PathBuf::from(home).join("bin").join(program));
    let candidates: Vec<PathBuf> = set.into_iter().chain([PathBuf::from(program)]).collect();
    find_program(&candidates).ok_or(StartError::NotInstalled {
        program,
        remedy: JAVA_REMEDY,
    })
}

fn compile(javac: &Path, home: &Path, folder: &Path, classes: &Path) -> Result<(), StartError> {
    let source = folder.join("TransitServlet.java");
    fs::write(&source, SERVLET)?;
    let output = Command::new(javac)
        .args(["-Xlint:all", "-Werror", "-classpath"])
        .arg(home.join("lib/servlet-api.jar"))
        .arg("-d")
        .arg(classes)
        .arg(&source)
        .stdin(Stdio::null())
        .output()?;
    if output.status.success() {
        Ok(())
    } else {
        let why = String::from_utf8_lossy(&output.stderr).into_owned();
        Err(StartError::Failed(format!("javac: {why}")))
    }
}

fn class_path(jars: &[PathBuf]) -> Result<std::ffi::OsString, StartError> {
    std::env::join_paths(jars).map_err(|error| StartError::Failed(error.to_string()))
}

/// What the servlet reads at its start: a line each, the ciphertext, a space, the data key.
fn keys(exchanges: &Exchanges) -> Result<Vec<u8>, StartError> {
    let mut lines = Vec::new();
    for exchange in (0..exchanges.len()).filter_map(|index| exchanges.get(index)) {
        let ciphertext = value(exchange.request, "ciphertext");
        let plaintext = value(exchange.expected, "plaintext");
        let (Some(ciphertext), Some(plaintext)) = (ciphertext, plaintext) else {
            return Err(StartError::Failed(
                "Tomcat: a request of another kind".into(),
            ));
        };
        for part in [ciphertext, b" ", plaintext, b"\n"] {
            lines.extend_from_slice(part);
        }
    }
    Ok(lines)
}

/// The text of a field in JSON that escapes nothing.
fn value<'a>(json: &'a [u8], field: &str) -> Option<&'a [u8]> {
    let front = format!("\"{field}\":\"");
    let at = json
        .windows(front.len())
        .position(|part| part == front.as_bytes())?;
    let rest = json.get(at + front.len()..)?;
    rest.get(..rest.iter().position(|&byte| byte == b'"')?)
}

/// Drives it for `warm_up`; an answer that is wrong already then ends it.
fn compiled(contender: &Contender, warm_up: Duration) -> Result<(), StartError> {
    let failed = |why: &dyn std::fmt::Display| StartError::Failed(format!("Tomcat: {why}"));
    let exchanges = &contender.exchanges;
    let mut order = Uniform::new(7, exchanges.len()).ok_or_else(|| failed(&"no data keys"))?;
    let shares: u32 = WARM_UP.iter().map(|(_, share)| share).sum();
    for (connections, share) in WARM_UP {
        let mut driver =
            Driver::connect(&contender.target, connections).map_err(|why| failed(&why))?;
        let plan = Plan {
            depth: 1,
            until: Until::Elapsed(warm_up * share / shares),
        };
        let outcome = driver.run(exchanges, &mut order, plan);
        let outcome = outcome.map_err(|why| failed(&why))?;
        if !outcome.is_clean() {
            let why = format!("wrong answers while warming up: {:?}", outcome.statuses());
            return Err(failed(&why));
        }
    }
    Ok(())
}

/// `Server version: Apache Tomcat/10.1.60 (Debian)` and `JVM Version: 17.0.15+6` among others.
fn version(java: &Path, home: &Path) -> String {
    let jars = [
        "lib/catalina.jar",
        "lib/tomcat-util.jar",
        "bin/tomcat-juli.jar",
    ];
    let output = class_path(&jars.map(|jar| home.join(jar))).and_then(|jars| {
        let mut command = Command::new(java);
        command.arg("-classpath").arg(jars);
        Ok(command
            .arg("org.apache.catalina.util.ServerInfo")
            .output()?)
    });
    named_in(
        &output
            .map(|output: Output| output.stdout)
            .unwrap_or_default(),
    )
}

fn named_in(told: &[u8]) -> String {
    let told = String::from_utf8_lossy(told);
    let field = |name: &str| {
        told.lines()
            .find_map(|line| Some(line.strip_prefix(name)?.trim().to_owned()))
    };
    let server = field("Server version:").unwrap_or_else(|| "Tomcat".to_owned());
    let java = field("JVM Version:").map_or(String::new(), |version| format!(" on Java {version}"));
    server + &java
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_servlet_gets_what_the_requests_ask_for() {
        let mut exchanges = Exchanges::default();
        let request = b"POST / HTTP/1.1\r\n\r\n{\"ciphertext\":\"vault:v1:a+/=\"}";
        exchanges.push(request, b"\"plaintext\":\"QUJD\"");
        exchanges.push(request, b"\"plaintext\":\"REVG\"");
        let lines = b"vault:v1:a+/= QUJD\nvault:v1:a+/= REVG\n";
        assert_eq!(keys(&exchanges).unwrap(), lines);
        for (name, request, expected) in [
            (
                "no ciphertext",
                &b"{\"batch_input\":[]}"[..],
                &b"\"plaintext\":\"QUJD\""[..],
            ),
            (
                "cut ciphertext",
                b"{\"ciphertext\":\"vault",
                b"\"plaintext\":\"QUJD\"",
            ),
            ("no plaintext", request, b""),
        ] {
            let mut exchanges = Exchanges::default();
            exchanges.push(request, expected);
            assert!(keys(&exchanges).is_err(), "{name}");
        }
    }

    #[test]
    fn versions_are_found_among_what_is_told() {
        let told = b"Server version: Apache Tomcat/10.1.60 (Debian)\nServer number:  10.1.60.0\nJVM Version:    17.0.15+6\n";
        assert_eq!(
            named_in(told),
            "Apache Tomcat/10.1.60 (Debian) on Java 17.0.15+6"
        );
        assert_eq!(named_in(b""), "Tomcat");
    }
}
