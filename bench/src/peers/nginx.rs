//! nginx with `return 200`: the cost of TLS and HTTP in a server that many people have tuned.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use kms_loadgen::Exchanges;

use super::{Contender, FixedAnswer, Site};
use crate::server::{Server, StartError, find_program, free_address};

const REMEDY: &str = "apt-get install nginx-light, or set KMS_BENCH_NGINX to the program";

/// Starts it; with `access_log` as it would audit: one buffered line a request.
pub fn start(
    site: &Site,
    answer: &FixedAnswer,
    exchanges: Arc<Exchanges>,
    access_log: bool,
) -> Result<Contender, StartError> {
    let set = std::env::var_os("KMS_BENCH_NGINX").map(PathBuf::from);
    let usual = [PathBuf::from("nginx"), PathBuf::from("/usr/sbin/nginx")];
    let candidates: Vec<PathBuf> = set.into_iter().chain(usual).collect();
    let missing = StartError::NotInstalled {
        program: "nginx",
        remedy: REMEDY,
    };
    let program = find_program(&candidates).ok_or(missing)?;
    let name = if access_log {
        "nginx, access log"
    } else {
        "nginx"
    };
    let folder = site.server_folder(if access_log { "nginx-log" } else { "nginx" })?;
    let address = free_address()?;
    let body = std::str::from_utf8(&answer.body)
        .unwrap_or_default()
        .trim_end();
    fs::write(
        folder.join("nginx.conf"),
        configuration(&folder, address.port(), body, access_log),
    )?;
    let mut command = Command::new(&program);
    command
        .arg("-p")
        .arg(&folder)
        .arg("-c")
        .arg(folder.join("nginx.conf"))
        .args(["-e", "stderr"]);
    Ok(Contender {
        name: name.into(),
        about: format!(
            "{}, one worker, return 200 of the same body, one session ticket a connection as kms gives",
            version(&program)
        ),
        server: Server::start("nginx", command, address, &folder)?,
        target: site.target(address, false)?,
        exchanges,
        request_log: access_log.then(|| folder.join("access.log")),
    })
}

fn configuration(folder: &Path, port: u16, body: &str, access_log: bool) -> String {
    let folder = folder.display();
    let log = if access_log {
        format!("{folder}/access.log combined buffer=64k flush=1s")
    } else {
        "off".into()
    };
    format!(
        r"daemon off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log stderr crit;
events {{ worker_connections 1024; }}
http {{
  access_log {log};
  keepalive_requests 1000000000;
  keepalive_timeout 3600s;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  server {{
    listen 127.0.0.1:{port} ssl;
    ssl_protocols TLSv1.3;
    ssl_certificate {folder}/server.pem;
    ssl_certificate_key {folder}/server.key;
    ssl_client_certificate {folder}/ca.pem;
    ssl_verify_client on;
    ssl_conf_command NumTickets 1;
    location / {{
      default_type application/json;
      return 200 '{body}';
    }}
  }}
}}
"
    )
}

/// `nginx version: nginx/1.22.1`, and of OpenSSL the one it was built with and, where that is another, the one it runs with.
fn version(program: &Path) -> String {
    let output = Command::new(program).arg("-V").output();
    let told = output.map(|output| String::from_utf8_lossy(&output.stderr).into_owned());
    named_in(&told.unwrap_or_default())
}

fn named_in(told: &str) -> String {
    let after = |mark: &str| told.split_once(mark).map(|(_, rest)| rest);
    let word = |rest: &str| {
        let end = rest.find(|c: char| c.is_whitespace() || c == ')');
        rest.get(..end.unwrap_or(rest.len()))
            .unwrap_or_default()
            .to_owned()
    };
    let nginx = after("nginx version: ").map_or("nginx".to_owned(), word);
    let openssl = after("running with OpenSSL ").or_else(|| after("built with OpenSSL "));
    openssl.map_or(nginx.clone(), |rest| {
        format!("{nginx} with OpenSSL {}", word(rest))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_found_among_what_is_told() {
        for (name, told, want) in [
            (
                "two of OpenSSL",
                "nginx version: nginx/1.22.1\nbuilt with OpenSSL 3.0.22 25 Aug 2026 (running with OpenSSL 3.0.19 27 Jan 2026)\n",
                "nginx/1.22.1 with OpenSSL 3.0.19",
            ),
            (
                "one of OpenSSL",
                "nginx version: nginx/1.26.0 (Debian)\nbuilt with OpenSSL 3.5.1 1 Jul 2025\n",
                "nginx/1.26.0 with OpenSSL 3.5.1",
            ),
            ("nothing", "", "nginx"),
        ] {
            assert_eq!(named_in(told), want, "{name}");
        }
    }
}
