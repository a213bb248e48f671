//! Tomcat's connector and valves as settings of the service, and what of them has no counterpart.
//!
//! Must never be true: an attribute passed over in silence; the service open to more than it was. Called by
//! `migrate`.

use std::net::{IpAddr, Ipv4Addr, ToSocketAddrs};

use super::output::Output;
use super::report::Report;
use super::server_xml::{Attribute, Connector, Element, ServerXml};

/// Attributes that need no counterpart, and what takes their place. A name that ends in `*` stands for all such.
const LEFT: &[(&str, &str)] = &[
    (
        "maxThreads",
        "a thread a core serves all connections (kms.threads)",
    ),
    (
        "minSpareThreads",
        "a thread a core serves all connections (kms.threads)",
    ),
    (
        "executor",
        "a thread a core serves all connections (kms.threads)",
    ),
    ("acceptCount", "connections wait in the kernel's own queue"),
    ("acceptorThreadCount", "one thread accepts"),
    ("protocol", "HTTP/1.1 over TLS is all there is"),
    ("scheme", "always https"),
    ("secure", "always"),
    ("sslProtocol", "always TLS 1.2 and 1.3"),
    ("sslImplementationName", "rustls is built in"),
    (
        "ciphers",
        "those of TLS 1.3 and, in TLS 1.2, ECDHE with AES-GCM or ChaCha20",
    ),
    ("honorCipherOrder", "the client chooses among those"),
    (
        "useServerCipherSuitesOrder",
        "the client chooses among those",
    ),
    (
        "connectionTimeout",
        "10 s for a handshake, 30 s for a request",
    ),
    (
        "keepAliveTimeout",
        "an idle connection is closed after 5 min",
    ),
    ("maxKeepAliveRequests", "a connection serves any number"),
    ("maxPostSize", "kms.request.body.max, 1 MiB unless set"),
    ("maxSwallowSize", "kms.request.body.max, 1 MiB unless set"),
    ("maxHttpHeaderSize", "32 KiB"),
    ("maxParameterCount", "1000 strings in a body"),
    ("redirectPort", "nothing redirects"),
    ("URIEncoding", "UTF-8"),
    ("useBodyEncodingForURI", "UTF-8"),
    (
        "compression",
        "answers are short and secret: they are not compressed",
    ),
    (
        "compress*",
        "answers are short and secret: they are not compressed",
    ),
    ("enableLookups", "names are not looked up"),
    ("proxyName", "the service does not name itself"),
    ("proxyPort", "the service does not name itself"),
    ("server", "no Server header is sent"),
    ("xpoweredBy", "no such header is sent"),
    ("hostName", "one certificate for all names"),
    ("type", "by the certificate itself"),
    (
        "trustManagerClassName",
        "clients are let in by their own certificates",
    ),
    (
        "caCertificate*",
        "clients are let in by their own certificates, not by an authority",
    ),
    (
        "certificateVerificationDepth",
        "clients are let in by their own certificates, not by an authority",
    ),
    (
        "trustMaxCertLength",
        "clients are let in by their own certificates, not by an authority",
    ),
    (
        "certificateRevocationList*",
        "a client's certificate is withdrawn by taking it out of the keystore: kms keystore remove, without a restart",
    ),
    (
        "crlFile",
        "a client's certificate is withdrawn by taking it out of the keystore: kms keystore remove, without a restart",
    ),
    (
        "session*",
        "sessions end with a reload that takes a certificate away",
    ),
];

/// Writes what the connector sets, and tells all the rest.
pub(super) fn write(
    xml: &mut ServerXml,
    connector: &mut Connector,
    output: &mut Output,
    report: &mut Report,
) -> Result<(), String> {
    let element = &mut connector.element;
    port(element, output, report)?;
    address(element, output, report)?;
    connections(element, output, report)?;
    protocols(element, report);
    verification(element, report);
    for attribute in element.attributes.drain(..) {
        tell_left(&attribute, report);
    }
    for further in &connector.further {
        let what = format!("server.xml:{} a further <{}>", further.line, further.name);
        let why = match further.name.as_str() {
            "UpgradeProtocol" => "HTTP/1.1 is all there is",
            _ => "one certificate serves all names; the first, or the default, was taken",
        };
        report.lost(what, why);
    }
    for other in &xml.connectors {
        let port = other
            .element
            .get("port")
            .map_or("none", Attribute::shown_value);
        report.lost(
            format!(
                "server.xml:{} <Connector> on port {port}",
                other.element.line
            ),
            "the service has one port, and that speaks TLS",
        );
    }
    valves(xml, output, report);
    Ok(())
}

fn place(attribute: &Attribute) -> String {
    format!(
        "server.xml:{} {} = {}",
        attribute.line,
        attribute.shown,
        attribute.shown_value()
    )
}

fn port(element: &mut Element, output: &mut Output, report: &mut Report) -> Result<(), String> {
    let Some(attribute) = element.take("port") else {
        return Err(format!(
            "server.xml:{}: the TLS <Connector> has no port",
            element.line
        ));
    };
    let port: Option<u16> = attribute.value()?.trim().parse().ok();
    let port =
        port.ok_or_else(|| format!("{}: no port; 1 to 65535 is wanted", place(&attribute)))?;
    output.set("kms.server.port", port.to_string());
    report.changed(place(&attribute), format!("kms.server.port = {port}"));
    Ok(())
}

/// A name is looked up once, here: the service binds an address.
fn address(element: &mut Element, output: &mut Output, report: &mut Report) -> Result<(), String> {
    let Some(attribute) = element.take("address") else {
        return Ok(());
    };
    let written = attribute.value()?.trim();
    let found = match written.trim_matches(['[', ']']).parse::<IpAddr>() {
        Ok(address) => Some(address),
        Err(_) => (written, 0)
            .to_socket_addrs()
            .ok()
            .and_then(|mut all| all.next())
            .map(|one| one.ip()),
    };
    // Where nothing else is known nobody but this machine gets in.
    let address = found.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST));
    output.set("kms.server.address", address.to_string());
    report.changed(place(&attribute), format!("kms.server.address = {address}"));
    if found.is_none() {
        report.decide.push(format!(
            "{}: this name leads to no address here. kms.server.address is {address} until you write the right one",
            place(&attribute)
        ));
    }
    Ok(())
}

fn connections(
    element: &mut Element,
    output: &mut Output,
    report: &mut Report,
) -> Result<(), String> {
    let Some(attribute) = element.take("maxConnections") else {
        return Ok(());
    };
    match attribute.value()?.trim().parse::<i64>() {
        Ok(count @ 1..=1_000_000) => {
            output.set("kms.connections.max", count.to_string());
            report.changed(place(&attribute), format!("kms.connections.max = {count}"));
        }
        _ => report.lost(
            place(&attribute),
            "kms.connections.max has a bound, 20000 unless set",
        ),
    }
    Ok(())
}

fn protocols(element: &mut Element, report: &mut Report) {
    let Some(attribute) = element.take("protocols") else {
        return;
    };
    let names = attribute.shown_value().to_ascii_lowercase();
    let is_old = |name: &str| {
        matches!(
            name.trim().trim_start_matches('+'),
            "tlsv1" | "tlsv1.0" | "tlsv1.1" | "sslv3" | "sslv2hello" | "all"
        )
    };
    let why = if names.split([',', ' ', '+']).any(is_old) {
        "TLS 1.2 and 1.3, nothing older: a client that speaks no newer protocol is refused"
    } else {
        "TLS 1.2 and 1.3, always"
    };
    report.lost(place(&attribute), why);
}

fn verification(element: &mut Element, report: &mut Report) {
    let Some(attribute) = element.take("certificateVerification") else {
        return;
    };
    let word = attribute.shown_value().to_ascii_lowercase();
    let why = if matches!(word.as_str(), "true" | "required" | "require" | "yes") {
        "always: a client without a certificate of a role is refused"
    } else {
        "a client without a certificate of a role is refused: whoever came without one, such as a health check of the \
         load balancer, is to ask kms.health.address instead"
    };
    report.lost(place(&attribute), why);
}

fn tell_left(attribute: &Attribute, report: &mut Report) {
    let fits = |name: &str| match name.strip_suffix('*') {
        Some(start) => attribute.name.starts_with(start),
        None => attribute.name == name,
    };
    let known = LEFT.iter().find(|(name, _)| fits(name));
    report.lost(
        place(attribute),
        known.map_or("no counterpart is known", |(_, why)| why),
    );
}

fn valves(xml: &ServerXml, output: &mut Output, report: &mut Report) {
    for valve in &xml.valves {
        let place = format!("server.xml:{} {}", valve.line, valve.name);
        match valve.name.as_str() {
            "RemoteIpValve" => {
                let from = valve
                    .get("internalProxies")
                    .map_or("Tomcat's default", Attribute::shown_value);
                report.lost(
                    &place,
                    "a client's address is not taken from a header: a load balancer tells it by the PROXY protocol",
                );
                report.decide.push(format!(
                    "{place} (internalProxies: {from}): does the load balancer send the PROXY protocol, version 2? Then \
                     switch on the two lines of kms.properties that are prepared for it; until then all clients share \
                     the limits of the balancer's address"
                ));
                output.comment(
                    "Clients' addresses, if the load balancer sends the PROXY protocol, version 2 (HAProxy: \
                     send-proxy-v2). Name the balancer's addresses: whoever may send it may claim any address.",
                );
                output.propose("kms.server.proxy-protocol", "v2");
                output.propose("kms.server.proxy-protocol.from", "10.0.0.5");
            }
            "AccessLogValve" | "ExtendedAccessLogValve" => {
                report.lost(
                    place,
                    "the audit log has a line an operation (kms.audit.file)",
                );
            }
            "RemoteAddrValve" | "RemoteCIDRValve" | "RemoteHostValve" => {
                report.decide.push(format!(
                    "{place}: it limits who may connect by address. Here that is the firewall's: make sure that it does"
                ));
            }
            _ => report.lost(place, "no counterpart is known"),
        }
    }
}
