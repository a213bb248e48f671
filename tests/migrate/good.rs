//! Installations that are taken over: the guide's, one with a site's own names, one with PEM files and a Vault.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use serde_json::Value;

use super::place::{Place, said};
use super::support::client::Client;
use super::support::free_port;
use super::support::node::Node;
use super::support::pki::{CLIENT, Pki, SERVER};
use super::support::pykmip::Hsm;
use super::support::site::P12_PASSWORD;

const DEK: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

/// What a service of the tests has beside the migrated file: free ports, and folders of its own.
fn environment(place: &Place) -> [(&'static str, String); 4] {
    let path = |name: &str| place.root.path().join(name).to_str().unwrap().to_owned();
    [
        ("KMS_HEALTH_ADDRESS", "127.0.0.1:0".to_owned()),
        ("KMS_CONTROL_SOCKET", path("control.sock")),
        ("KMS_AUDIT_FILE", path("audit.log")),
        ("KMS_CACHE_ENTRIES_MAX", "1000".to_owned()),
    ]
}

fn serve(place: &Place) -> Node {
    let environment = environment(place);
    let pairs = environment
        .each_ref()
        .map(|(name, value)| (*name, value.as_str()));
    Node::start_with(&place.new_file("kms.properties"), &pairs)
}

/// JSON of `kms check` on what was written; no errors.
fn check(place: &Place) -> Value {
    let config = place.new_text("kms.properties");
    let (code, text) = place.kms(
        &["check", "--json", "--config", &config],
        &environment(place),
    );
    let checked: Value = serde_json::from_str(&text).unwrap_or_else(|_| panic!("{text}"));
    let errors = checked["errors"].as_array().unwrap();
    assert!(code <= 1 && errors.is_empty(), "{checked}");
    checked
}

fn client<'a>(pki: &'a Pki, node: &Node, name: &'a str) -> Client<'a> {
    Client {
        pki,
        name,
        password: P12_PASSWORD,
        authority: "siteCA.crt",
        port: node.port,
    }
}

fn holds(text: &str, wanted: &[&str]) {
    for part in wanted {
        assert!(text.contains(part), "{part} in {text}");
    }
}

fn has_lines(place: &Place, wanted: &[&str]) -> String {
    let properties = fs::read_to_string(place.new_file("kms.properties")).unwrap();
    for line in wanted {
        assert!(
            properties.lines().any(|one| one == *line),
            "{line} in\n{properties}"
        );
    }
    properties
}

const GUIDE_CHANGED: &[&str] = &[
    "kms.server.port = ",
    "kms.connections.max = 5000",
    "kms.keystore.password.file",
];
const GUIDE_LOST: &[&str] = &[
    "<Connector> maxThreads = 200",
    "<Connector> on port 8080",
    "-Xmx2g",
    "JAVA_HOME",
    "setenv.sh:8",
    "kms.hsm.vault.namespace",
    "AccessLogValve",
    "kms.cache.type = distributed",
];
const GUIDE_LINES: &[&str] = &[
    "kms.keystore.file = kmsKeystore.jks",
    "kms.keystore.password.file = keystore.password",
    "kms.keystore.alias = kmsClient",
    "kms.server.alias = kmsServer",
    "kms.hsm.server.url = https://localhost",
    "#kms.cache.type = distributed",
    "#   kms1.AcmeXYZ.com 7800 (this node)",
    "#   kms4.myCorp.com 7800",
    "#kms.role.device.aliases = cmxDevice*",
];

#[test]
fn the_guides_installation_is_taken_over_and_serves() {
    let place = Place::new();
    let pki = place.guide();
    let mut hsm = Hsm::new(&pki);
    hsm.start();
    let port = free_port();
    let hsm_port = hsm.port.to_string();
    place.edit(
        "kms.properties",
        &[("kmshsm.myCorp.com", "localhost"), ("5696", &hsm_port)],
    );
    let service = format!("port=\"{port}\" protocol");
    place.edit(
        "server.xml",
        &[("port=\"8443\" protocol=\"org", &format!("{service}=\"org"))],
    );
    let before = place.fingerprint();

    let (code, text) = place.migrate(&["--dry-run"]);
    assert_eq!(code, 0, "{text}");
    assert!(!place.to().exists(), "a dry run writes nothing");
    let (code, text) = place.migrate(&["--json"]);
    assert_eq!(code, 0, "{text}");
    assert_eq!(
        place.fingerprint(),
        before,
        "the old installation was changed"
    );
    let report: Value = serde_json::from_str(&text).unwrap();
    holds(&report["changed"].to_string(), GUIDE_CHANGED);
    holds(&report["no_counterpart"].to_string(), GUIDE_LOST);
    holds(
        &report["next"].to_string(),
        &["kms check", "systemctl disable --now tomcat"],
    );
    let properties = has_lines(&place, GUIDE_LINES);
    assert!(
        !properties.contains("old.") && !properties.contains("vault"),
        "{properties}"
    );

    check(&place);
    let node = serve(&place);
    node.wait_ready(200, "ready");
    assert_eq!(node.port, port);
    client(&pki, &node, "cmxBackend").create("moved").ok();
    let device = client(&pki, &node, "cmxDevice");
    let sealed = device.wrap("moved", DEK).ok().field("ciphertext");
    assert_eq!(device.unwrap("moved", &sealed).ok().field("plaintext"), DEK);
}

const OWN_TOLD: &[&str] = &[
    "kms.server.keystore.file = tomcat.jks",
    "kmip.server.url -> kms.hsm.server.url",
    "'root of ours' is the HSM's authority (kms.hsm.ca.alias): it has issued",
    "'siteroot' (CN=siteCA,O=CMX Test) is an authority of other certificates",
    "'oldlaptops' (CN=oldLaptops,O=CMX Test). Who comes",
    "RemoteIpValve (internalProxies: 10\\.0\\.0\\.5): does",
    "a client that speaks no newer protocol is refused",
    "a further <UpgradeProtocol>",
    "<Connector> on port 9443",
];
const OWN_LINES: &[&str] = &[
    "kms.server.address = 127.0.0.1",
    "kms.server.keystore.password.file = server.keystore.password",
    "kms.keystore.key.password.file = keystore.key.password",
    "kms.hsm.ca.alias = root of ours",
    "kms.role.backend.aliases = connected back-end",
    "kms.role.device.aliases = all* laptops",
    "#kms.server.proxy-protocol = v2",
];
const OWN_SETENV: &str = "NODE=kms1\nexport CATALINA_OPTS=\"$CATALINA_OPTS -Dtomcat.password=kmsKeystorePwd \
    -Djavax.net.ssl.trustStore=conf/trust.p12 -Djavax.net.ssl.trustStorePassword=kmsKeystorePwd\"\n";
const OWN_PROPERTIES: &str = "kms.keystore.file=kms.jks\nkms.keystore.password=kmsKeystorePwd\n\
    kms.keystore.alias=hsm-client\nkmip.server.url=localhost\nkmip.server.port=1\n";

/// A JKS of the KMS and one of Tomcat with a key password of its own, and a trust store.
fn own_names(place: &Place, port: u16) -> Pki {
    let pki = place.pki();
    for (name, authority, usage) in [
        ("front", "siteCA", SERVER),
        ("toHsm", "innerCA", CLIENT),
        ("acmeBackend", "siteCA", CLIENT),
        ("laptops", "siteCA", CLIENT),
        ("oldLaptops", "siteCA", CLIENT),
    ] {
        pki.leaf(name, authority, usage);
        pki.pkcs12(name, &format!("{name}.crt"), P12_PASSWORD);
    }
    let jks = ["-deststoretype", "JKS"];
    place.key(&pki, "toHsm", "Hsm-Client", "kms.jks", &jks, None);
    for (name, alias) in [
        ("innerCA", "Root of ours"),
        ("acmeBackend", "Connected Back-End"),
        ("laptops", "All, Laptops"),
        ("siteCA", "siteRoot"),
    ] {
        place.trust(&pki, name, alias, "kms.jks");
    }
    place.key(
        &pki,
        "front",
        "front",
        "tomcat.jks",
        &jks,
        Some("tomcatKeyPwd"),
    );
    place.trust(&pki, "oldLaptops", "oldLaptops", "trust.p12");
    place.install(
        &[
            ("kms.properties", OWN_PROPERTIES),
            ("server.xml", include_str!("server-hostconfig.xml")),
            ("setenv.sh", OWN_SETENV),
            ("catalina.properties", &format!("kms.port={port}\n")),
        ],
        &[
            ("kms.jks", "conf"),
            ("tomcat.jks", "tomcat/conf"),
            ("trust.p12", "tomcat/conf"),
        ],
    );
    pki
}

#[test]
fn a_sites_own_aliases_and_tomcats_own_keystore_are_taken_over() {
    let (place, port) = (Place::new(), free_port());
    let pki = own_names(&place, port);
    let (code, text) = place.migrate(&["--port", &port.to_string()]);
    assert_eq!(code, 1, "there is something to decide: {text}");
    holds(&said(&text), OWN_TOLD);
    has_lines(&place, OWN_LINES);
    check(&place);
    let node = serve(&place);
    for name in ["acmeBackend", "laptops"] {
        let reply = client(&pki, &node, name).ask("/v1/sys/health", None);
        assert_eq!(
            reply.status, 503,
            "the HSM is not there, but {name} got in: {reply:?}"
        );
    }
    // What the report told of is taken over with the command that it names.
    let (config, password) = (
        place.new_text("kms.properties"),
        place.new_text("keystore.password"),
    );
    let trust = place.tomcat().join("conf/trust.p12");
    let (code, text) = place.kms(
        &[
            &[
                "keystore",
                "import",
                "--config",
                &config,
                "--from",
                trust.to_str().unwrap(),
            ][..],
            &[
                "--from-alias",
                "oldlaptops",
                "--alias",
                "cmxDevice-old",
                "--from-password-file",
                &password,
            ],
        ]
        .concat(),
        &[],
    );
    assert!(code == 0 && text.contains("is PKCS12 now"), "{text}");
}

const VAULT_TOLD: &[&str] = &[
    "this name leads to no address here. kms.server.address is 127.0.0.1",
    "the token for the Vault is in none of the files",
    "import the Vault's authority with kms keystore import kms.p12 --alias vaultCA",
    "kms.keystore.alias = kmsClient: the keystore has no such private key",
    "without it the server does not start",
];
const VAULT_XML: &str = "<Server><Service><Connector port='8443' SSLEnabled='true' address='kms.invalid'>\
    <SSLHostConfig><Certificate certificateFile='conf/front.crt' certificateKeyFile='conf/front.key'/>\
    </SSLHostConfig></Connector></Service></Server>";
const VAULT_PROPERTIES: &str = "kms.keystore.file=kms.p12\nkms.keystore.password=kmsKeystorePwd\n\
    kms.keystore.alias=kmsClient\nkms.hsm.protocol=vault\nkms.hsm.server.url=https://vault.example.com\n";

#[test]
fn certificates_in_pem_and_a_vault_are_taken_over() {
    let place = Place::new();
    let pki = place.pki();
    pki.leaf("front", "siteCA", SERVER);
    for name in ["cmxDevice", "cmxBackend"] {
        pki.leaf(name, "siteCA", CLIENT);
        place.trust(&pki, name, name, "kms.p12");
    }
    place.install(
        &[
            ("kms.properties", VAULT_PROPERTIES),
            ("server.xml", VAULT_XML),
            ("setenv.sh", ""),
        ],
        &[
            ("kms.p12", "conf"),
            ("front.crt", "tomcat/conf"),
            ("front.key", "tomcat/conf"),
        ],
    );
    let (code, text) = place.migrate(&[]);
    assert_eq!(code, 1, "{text}");
    holds(&said(&text), VAULT_TOLD);

    // As told: the Vault's authority, and the token.
    let (store, password) = (
        place.new_text("kms.p12"),
        place.new_text("keystore.password"),
    );
    let authority = pki.text("innerCA.crt");
    let import = [
        "keystore", "import", &store, "--alias", "vaultCA", "--cert", &authority,
    ];
    let (code, text) = place.kms(
        &[&import[..], &["--password-file", &password]].concat(),
        &[],
    );
    assert_eq!(code, 0, "{text}");
    let token = place.new_file("hsm.vault.token");
    fs::write(&token, "hvs.token").unwrap();
    fs::set_permissions(&token, fs::Permissions::from_mode(0o600)).unwrap();
    let properties = place.new_file("kms.properties");
    let text = fs::read_to_string(&properties).unwrap();
    fs::write(
        &properties,
        text.replace("#kms.hsm.vault.token", "kms.hsm.vault.token"),
    )
    .unwrap();
    let certificates = check(&place)["certificates"].to_string();
    assert!(
        certificates.contains("\"use\":\"server\""),
        "{certificates}"
    );
}
