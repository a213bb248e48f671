//! Tomcat's `conf/server.xml`: its connectors and valves, placeholders resolved, each with its line.
//!
//! What Tomcat takes by another name is brought to one name here: old attributes of a Connector and those of
//! `SSLHostConfig` and Certificate. Must never be true: a password in an error. Called by `migrate`.

use std::path::{Path, PathBuf};

use roxmltree::Node;

use super::files;
use super::placeholders::{Dialect, SystemProperties, Unresolved};
use crate::secret::SecretString;

/// An attribute with its placeholders resolved, where that was possible.
#[derive(Debug)]
pub(super) struct Attribute {
    /// By the name of today.
    pub(super) name: String,
    /// As in the file, with its element: `<Connector> keystoreFile`.
    pub(super) shown: String,
    pub(super) line: u32,
    value: Result<SecretString, Unresolved>,
}

/// An element that matters.
#[derive(Debug)]
pub(super) struct Element {
    /// Such as `Connector` or a valve's class.
    pub(super) name: String,
    pub(super) line: u32,
    pub(super) attributes: Vec<Attribute>,
}

/// A connector, what belongs to it in one list.
#[derive(Debug)]
pub(super) struct Connector {
    pub(super) element: Element,
    /// More of what it can have several of: host configurations, certificates.
    pub(super) further: Vec<Element>,
    is_tls: bool,
}

/// What of the file matters.
#[derive(Debug)]
pub(super) struct ServerXml {
    pub(super) file: PathBuf,
    pub(super) connectors: Vec<Connector>,
    pub(super) valves: Vec<Element>,
}

/// The old attribute of a Connector, and where the same is called what since Tomcat 8.5.
const NAMES: [(&str, &str); 14] = [
    ("keystoreFile", "certificateKeystoreFile"),
    ("keystorePass", "certificateKeystorePassword"),
    ("keystoreType", "certificateKeystoreType"),
    ("keyAlias", "certificateKeyAlias"),
    ("keyPass", "certificateKeyPassword"),
    ("SSLCertificateFile", "certificateFile"),
    ("SSLCertificateKeyFile", "certificateKeyFile"),
    ("SSLCertificateChainFile", "certificateChainFile"),
    ("SSLPassword", "certificateKeyPassword"),
    ("truststorePass", "truststorePassword"),
    ("clientAuth", "certificateVerification"),
    ("SSLVerifyClient", "certificateVerification"),
    ("sslEnabledProtocols", "protocols"),
    ("SSLProtocol", "protocols"),
];

impl ServerXml {
    pub(super) fn parse(file: &Path, text: &str, known: &SystemProperties) -> Result<Self, String> {
        let document = files::xml(file, text)?;
        if !document.root_element().has_tag_name("Server") {
            return Err(format!(
                "{}: its root is <{}> and not <Server>: is it Tomcat's server.xml?",
                file.display(),
                document.root_element().tag_name().name()
            ));
        }
        let read = Reader { known };
        let nodes = |name: &'static str| {
            let all = document.descendants();
            all.filter(move |node| node.is_element() && node.tag_name().name() == name)
        };
        Ok(Self {
            file: file.to_owned(),
            connectors: nodes("Connector")
                .map(|node| read.connector(node))
                .collect(),
            valves: nodes("Valve").map(|node| read.valve(node)).collect(),
        })
    }

    /// Takes out the connector that serves TLS, on `port` if there are several.
    pub(super) fn take_tls(&mut self, port: Option<u16>) -> Result<Connector, String> {
        let file = self.file.display();
        let told = |connector: &Connector| {
            let port = connector
                .element
                .get("port")
                .map_or("no port", |port| port.shown_value());
            format!("{file}:{} port {port}", connector.element.line)
        };
        let all: Vec<usize> = (0..self.connectors.len())
            .filter(|&at| self.connectors.get(at).is_some_and(Connector::serves_tls))
            .collect();
        let fits = |&&at: &&usize| {
            let connector = self.connectors.get(at);
            let found = connector.and_then(|one| one.element.get("port")?.value().ok());
            port.is_none() || found.and_then(|text| text.trim().parse().ok()) == port
        };
        let chosen: Vec<usize> = all.iter().filter(fits).copied().collect();
        let list = || {
            let told = all
                .iter()
                .filter_map(|&at| self.connectors.get(at))
                .map(told);
            told.collect::<Vec<_>>().join(", ")
        };
        match (chosen.as_slice(), port) {
            ([at], _) => Ok(self.connectors.remove(*at)),
            ([], None) => Err(format!(
                "{file}: no <Connector> has SSLEnabled=\"true\", so none is the service: the guide's step 4 of \
                 \"Configure the Connected-KMS software\" makes one"
            )),
            ([], Some(port)) => Err(format!(
                "{file}: no TLS <Connector> has port {port}; these are there: {}",
                list()
            )),
            (_, _) => Err(format!(
                "{file}: several TLS <Connector>s ({}): choose the one of Connected-KMS with --port PORT",
                list()
            )),
        }
    }
}

impl Connector {
    /// A negative port is a connector that is switched off.
    fn serves_tls(&self) -> bool {
        let port = self.element.get("port").and_then(|port| port.value().ok());
        self.is_tls && !port.is_some_and(|port| port.trim().starts_with('-'))
    }
}

impl Element {
    pub(super) fn get(&self, name: &str) -> Option<&Attribute> {
        self.attributes
            .iter()
            .find(|attribute| attribute.name == name)
    }

    /// Takes an attribute out, so that what is left is what nobody has asked for.
    pub(super) fn take(&mut self, name: &str) -> Option<Attribute> {
        let at = self
            .attributes
            .iter()
            .position(|attribute| attribute.name == name)?;
        Some(self.attributes.remove(at))
    }
}

impl Attribute {
    /// The error does not hold the value.
    pub(super) fn value(&self) -> Result<&str, String> {
        match &self.value {
            Ok(value) => Ok(value.expose()),
            Err(unresolved) => {
                let (line, shown) = (self.line, &self.shown);
                Err(format!("server.xml:{line} {shown}: {unresolved}"))
            }
        }
    }

    /// For people: not what could be a password.
    pub(super) fn shown_value(&self) -> &str {
        let name = self.name.to_ascii_lowercase();
        if ["pass", "secret", "credential"]
            .iter()
            .any(|part| name.contains(part))
        {
            return "(set)";
        }
        match &self.value {
            Ok(value) => value.expose(),
            Err(_) => "(not resolved)",
        }
    }
}

struct Reader<'a> {
    known: &'a SystemProperties,
}

impl Reader<'_> {
    fn connector(&self, node: Node<'_, '_>) -> Connector {
        let mut element = self.element(node, "Connector");
        let is_on = |attribute: &Attribute| {
            attribute
                .value()
                .is_ok_and(|value| value.trim().eq_ignore_ascii_case("true"))
        };
        let is_tls = element
            .take("SSLEnabled")
            .is_some_and(|attribute| is_on(&attribute));
        let mut further = Vec::new();
        let default = element.take("defaultSSLHostConfigName");
        let default = default
            .as_ref()
            .and_then(|name| name.value().ok())
            .unwrap_or("_default_");
        let hosts: Vec<_> = children(node, "SSLHostConfig").collect();
        let name =
            |host: &Node<'_, '_>| host.attribute("hostName").unwrap_or("_default_").to_owned();
        let own = hosts
            .iter()
            .position(|host| name(host).eq_ignore_ascii_case(default))
            .unwrap_or(0);
        for (at, host) in hosts.into_iter().enumerate() {
            let config = self.element(host, "SSLHostConfig");
            if at != own {
                further.push(config);
                continue;
            }
            element.attributes.extend(config.attributes);
            for (number, certificate) in children(host, "Certificate").enumerate() {
                let certificate = self.element(certificate, "Certificate");
                match number {
                    0 => element.attributes.extend(certificate.attributes),
                    _ => further.push(certificate),
                }
            }
        }
        further.extend(
            children(node, "UpgradeProtocol").map(|node| self.element(node, "UpgradeProtocol")),
        );
        Connector {
            element,
            further,
            is_tls,
        }
    }

    /// Named by its class, without the package.
    fn valve(&self, node: Node<'_, '_>) -> Element {
        let class = node.attribute("className").unwrap_or("Valve");
        let name = class.rsplit('.').next().unwrap_or(class);
        self.element(node, name)
    }

    fn element(&self, node: Node<'_, '_>, name: &str) -> Element {
        let line = |offset: usize| node.document().text_pos_at(offset).row;
        let attributes = node.attributes().map(|attribute| {
            let written = attribute.name();
            let today = NAMES.iter().find(|(old, _)| *old == written);
            Attribute {
                name: today.map_or(written, |(_, new)| new).to_owned(),
                shown: format!("<{name}> {written}"),
                line: line(attribute.range().start),
                value: self.known.resolve(attribute.value(), Dialect::Tomcat),
            }
        });
        Element {
            name: name.to_owned(),
            line: line(node.range().start),
            attributes: attributes.collect(),
        }
    }
}

fn children<'a, 'i>(node: Node<'a, 'i>, name: &'static str) -> impl Iterator<Item = Node<'a, 'i>> {
    node.children()
        .filter(move |child| child.is_element() && child.tag_name().name() == name)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn parse(inside: &str) -> ServerXml {
        let mut known = SystemProperties::default();
        known.set("catalina.base", "/srv/tomcat");
        let text = format!(
            "<?xml version='1.0'?>\n<Server port='8005'>\n<Service name='Catalina'>\n{inside}\n</Service></Server>"
        );
        ServerXml::parse(Path::new("server.xml"), &text, &known).unwrap()
    }

    const OLD: &str = "<!-- <Connector port='1' SSLEnabled='true'/> -->\n<Connector port='8080'/>\n\
        <Connector port='8443' SSLEnabled='true'\n keystoreFile='${catalina.base}/k.jks' keystorePass='p1' keyAlias='kmsServer'/>";
    const NEW: &str = "<Connector port='8443' SSLEnabled='True'>\n<SSLHostConfig hostName='other'/>\n<SSLHostConfig protocols='TLSv1.2'>\n\
        <Certificate certificateKeystoreFile='${catalina.base}/k.jks' certificateKeystorePassword='p1' certificateKeyAlias='kmsServer'/>\n\
        <Certificate certificateFile='x'/></SSLHostConfig></Connector>";

    #[test]
    fn both_spellings_come_to_the_same() {
        for (name, inside, line, further) in [("old", OLD, 7, 0), ("new", NEW, 7, 2)] {
            let mut xml = parse(inside);
            let mut connector = xml.take_tls(None).unwrap();
            for (attribute, want) in [
                ("port", "8443"),
                ("certificateKeystoreFile", "/srv/tomcat/k.jks"),
                ("certificateKeystorePassword", "p1"),
                ("certificateKeyAlias", "kmsServer"),
            ] {
                let found = connector.element.take(attribute).unwrap();
                assert_eq!(found.value().unwrap(), want, "{name}");
                let want_line = if attribute == "port" {
                    line.min(found.line)
                } else {
                    line
                };
                assert_eq!(found.line, want_line, "{name} {attribute}");
                assert!(!found.shown_value().contains("p1"), "{name}");
            }
            assert_eq!(connector.further.len(), further, "{name}");
        }
    }

    #[test]
    fn the_connector_is_chosen_or_asked_for() {
        let two = "<Connector port='8443' SSLEnabled='true'/><Connector port='9443' SSLEnabled='true'/><Connector port='-1' SSLEnabled='true'/>";
        for (name, inside, port, want) in [
            ("the only one", OLD, None, Ok("8443")),
            ("by its port", two, Some(9443), Ok("9443")),
            (
                "two",
                two,
                None,
                Err("server.xml:4 port 8443, server.xml:4 port 9443): choose"),
            ),
            (
                "another port",
                two,
                Some(1),
                Err("has port 1; these are there: server.xml:4 port 8443"),
            ),
            (
                "none",
                "<Connector port='8080'/>",
                None,
                Err("no <Connector> has SSLEnabled"),
            ),
        ] {
            let found = parse(inside).take_tls(port);
            let port = found
                .as_ref()
                .map(|one| one.element.get("port").unwrap().value().unwrap());
            match (port, want) {
                (Ok(port), Ok(want)) => assert_eq!(port, want, "{name}"),
                (Err(error), Err(want)) => assert!(error.contains(want), "{name}: {error}"),
                other => panic!("{name}: {other:?}"),
            }
        }
        let error = ServerXml::parse(
            Path::new("x.xml"),
            "<Context/>",
            &SystemProperties::default(),
        );
        assert!(error.unwrap_err().contains("<Context> and not <Server>"));
    }

    #[test]
    fn what_is_not_resolved_is_an_error_once_it_is_asked_for() {
        let mut xml = parse(
            "<Connector port='8443' SSLEnabled='true' keystorePass='${secret.one}' scheme='https'/>",
        );
        let connector = xml.take_tls(None).unwrap();
        let password = connector
            .element
            .get("certificateKeystorePassword")
            .unwrap();
        let error = password.value().unwrap_err();
        assert!(
            error.contains("server.xml:4 <Connector> keystorePass: the system property secret.one"),
            "{error}"
        );
        assert_eq!(
            connector.element.get("scheme").unwrap().value().unwrap(),
            "https"
        );
    }
}
