//! `jgroups.xml`: which nodes there are, and where this one listens to them.
//!
//! Called by `migrate`.

use std::path::Path;

use roxmltree::Node;

use super::files;
use super::placeholders::{Dialect, SystemProperties};

/// The port of `JGroups` when nothing else is said.
const PORT: &str = "7800";

/// A node of the original's cluster.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Peer {
    pub(super) host: String,
    pub(super) port: u16,
}

/// What of the file matters.
#[derive(Debug, Default)]
pub(super) struct Jgroups {
    /// This node, where it is told.
    pub(super) own: Option<Peer>,
    /// The others.
    pub(super) others: Vec<Peer>,
    /// Where they are listed: line of the element.
    pub(super) line: Option<u32>,
    /// Other elements of the stack that a site may have meant something by, with their lines.
    pub(super) left: Vec<(String, u32)>,
}

/// Elements with which nodes find each other or trust each other, other than TCPPING.
const TELLING: [&str; 12] = [
    "MPING",
    "PING",
    "BPING",
    "FILE_PING",
    "JDBC_PING",
    "DNS_PING",
    "AZURE_PING",
    "S3_PING",
    "TCPGOSSIP",
    "AUTH",
    "ASYM_ENCRYPT",
    "SYM_ENCRYPT",
];

impl Jgroups {
    pub(super) fn parse(file: &Path, text: &str, known: &SystemProperties) -> Result<Self, String> {
        let document = files::xml(file, text)?;
        let line = |node: Node<'_, '_>| document.text_pos_at(node.range().start).row;
        let mut all = Self::default();
        let elements = document.descendants().filter(Node::is_element);
        for node in elements {
            let name = node.tag_name().name();
            let place = || format!("{}:{}: <{name}>", file.display(), line(node));
            match name {
                "TCP" => all.own = own(node, known),
                "TCPPING" => {
                    let listed = known.resolve(
                        node.attribute("initial_hosts").unwrap_or_default(),
                        Dialect::Jgroups,
                    );
                    let listed =
                        listed.map_err(|why| format!("{} initial_hosts: {why}", place()))?;
                    all.others = peers(listed.expose())
                        .map_err(|why| format!("{} initial_hosts: {why}", place()))?;
                    all.line = Some(line(node));
                }
                _ if TELLING.iter().any(|telling| name.ends_with(telling)) => {
                    all.left.push((name.to_owned(), line(node)));
                }
                _ => {}
            }
        }
        let own = all.own.clone();
        all.others.retain(|peer| Some(peer) != own.as_ref());
        Ok(all)
    }
}

fn own(tcp: Node<'_, '_>, known: &SystemProperties) -> Option<Peer> {
    let attribute = |name, property| {
        let written = tcp
            .attribute(name)
            .and_then(|text| known.resolve(text, Dialect::Jgroups).ok());
        let set = known
            .get(property)
            .filter(|value| !value.is_empty())
            .map(str::to_owned);
        set.or_else(|| written.map(|text| text.expose().trim().to_owned()))
    };
    let host = attribute("bind_addr", "jgroups.tcp.address")?;
    let port = attribute("bind_port", "jgroups.tcp.port").unwrap_or_else(|| PORT.to_owned());
    // A word of JGroups' own is no host, nor is a loopback address one for other nodes.
    let is_word =
        host.is_empty() || host.contains(':') || host.to_ascii_lowercase().contains("local");
    (!is_word && !host.starts_with("127.")).then_some(Peer {
        host,
        port: port.parse().ok()?,
    })
}

/// `host[port],host[port]`; white space does not count.
fn peers(listed: &str) -> Result<Vec<Peer>, String> {
    let mut all = Vec::new();
    for one in listed
        .split(',')
        .map(str::trim)
        .filter(|one| !one.is_empty())
    {
        let wrong =
            || format!("{one:?} is no host with its port; write it as kms2.example.com[7800]");
        let (host, port) = one.rsplit_once('[').ok_or_else(wrong)?;
        let port = port
            .strip_suffix(']')
            .and_then(|port| port.trim().parse().ok())
            .ok_or_else(wrong)?;
        let host = host.trim();
        if host.is_empty() || host.contains(char::is_whitespace) {
            return Err(wrong());
        }
        let peer = Peer {
            host: host.to_owned(),
            port,
        };
        if !all.contains(&peer) {
            all.push(peer);
        }
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn parse(text: &str, properties: &[(&str, &str)]) -> Result<Jgroups, String> {
        let mut known = SystemProperties::default();
        for (name, value) in properties {
            known.set(name, value);
        }
        Jgroups::parse(Path::new("jgroups.xml"), text, &known)
    }

    fn told(peers: &[Peer]) -> String {
        let each: Vec<_> = peers
            .iter()
            .map(|peer| format!("{}:{}", peer.host, peer.port))
            .collect();
        each.join(" ")
    }

    const TCP: &str =
        "<TCP bind_addr='${jgroups.tcp.address:127.0.0.1}' bind_port='${jgroups.tcp.port:7800}'/>";
    const GUIDE: &str = "<TCPPING\ninitial_hosts=\"kms2.myCorp.com[7800],kms3.myCorp.com[7800],kms4.myCorp.com\n[7801]\"\n/>";
    const OWN: &[(&str, &str)] = &[("jgroups.tcp.address", "kms1.AcmeXYZ.com")];
    const MOVED: &[(&str, &str)] = &[
        ("jgroups.tcp.address", "kms2.myCorp.com"),
        ("jgroups.tcp.port", "7900"),
    ];

    #[test]
    fn nodes_are_found_as_jgroups_finds_them() {
        for (name, inside, properties, want_own, want) in [
            (
                "the guide's",
                [TCP, GUIDE].concat(),
                OWN,
                "kms1.AcmeXYZ.com:7800",
                "kms2.myCorp.com:7800 kms3.myCorp.com:7800 kms4.myCorp.com:7801",
            ),
            (
                "nothing set",
                [TCP, "<TCPPING initial_hosts=''/>"].concat(),
                &[],
                "",
                "",
            ),
            (
                "another port",
                TCP.to_owned(),
                MOVED,
                "kms2.myCorp.com:7900",
                "",
            ),
            (
                "itself among them",
                [
                    TCP,
                    "<TCPPING initial_hosts='kms1.AcmeXYZ.com[7800], b[1],b[1]'/>",
                ]
                .concat(),
                OWN,
                "kms1.AcmeXYZ.com:7800",
                "b:1",
            ),
            (
                "a default of its own",
                "<TCPPING initial_hosts='${hosts:a[1]}'/>".to_owned(),
                &[],
                "",
                "a:1",
            ),
            (
                "a word",
                "<TCP bind_addr='SITE_LOCAL' bind_port='1'/>".to_owned(),
                &[],
                "",
                "",
            ),
        ] {
            let all = parse(
                &format!("<config xmlns='urn:org:jgroups'>{inside}</config>"),
                properties,
            )
            .unwrap();
            assert_eq!(told(all.own.as_slice()), want_own, "{name}");
            assert_eq!(told(&all.others), want, "{name}");
        }
    }

    #[test]
    fn what_else_nodes_find_each_other_by_is_told() {
        let all = parse("<config>\n<JDBC_PING/>\n<org.jgroups.AUTH/></config>", &[]).unwrap();
        assert_eq!(
            all.left,
            [
                ("JDBC_PING".to_owned(), 2),
                ("org.jgroups.AUTH".to_owned(), 3)
            ]
        );
    }

    #[test]
    fn what_is_no_host_is_told_with_its_place() {
        for (name, hosts, want) in [
            (
                "no port",
                "kms2,b[1]",
                "jgroups.xml:2: <TCPPING> initial_hosts: \"kms2\" is no host",
            ),
            ("a word for a port", "a[x]", "\"a[x]\""),
            ("too large a port", "a[70000]", "\"a[70000]\""),
            ("no host", "[7800]", "\"[7800]\""),
            ("no end", "a[1", "\"a[1\""),
            ("spaces", "a b[1]", "\"a b[1]\""),
            ("not resolved", "${x}", "the system property x"),
        ] {
            let error = parse(
                &format!("<config>\n<TCPPING initial_hosts='{hosts}'/></config>"),
                &[],
            )
            .unwrap_err();
            assert!(error.contains(want), "{name}: {error}");
        }
    }
}
