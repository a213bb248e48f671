//! The bare echo of row P2, in a process of its own: this program again.

use std::fs;
use std::process::Command;
use std::sync::Arc;

use kms_loadgen::Exchanges;

use super::{Contender, FixedAnswer, Site};
use crate::server::{Server, StartError, free_address};

/// Starts it.
pub fn start(
    site: &Site,
    answer: &FixedAnswer,
    exchanges: Arc<Exchanges>,
) -> Result<Contender, StartError> {
    let folder = site.server_folder("echo")?;
    let head = format!(
        "HTTP/1.1 200 OK\r\nCache-Control: no-store\r\nContent-Type: application/json\r\n\
         Strict-Transport-Security: max-age=31536000; includeSubDomains\r\n\
         Date: Mon, 23 Nov 2026 18:28:34 GMT\r\nContent-Length: {}\r\n\r\n",
        answer.body.len()
    );
    fs::write(
        folder.join("answer"),
        [head.as_bytes(), &answer.body].concat(),
    )?;
    let address = free_address()?;
    let mut command = Command::new(std::env::current_exe()?);
    command
        .arg("echo")
        .arg("--address")
        .arg(address.to_string())
        .arg("--folder")
        .arg(&folder);
    Ok(Contender {
        name: "bare echo".into(),
        about: "mio + rustls, one thread, fixed answer".into(),
        server: Server::start("bare echo", command, address, &folder)?,
        target: site.target(address, false)?,
        exchanges,
        request_log: None,
    })
}
