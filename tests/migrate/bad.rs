//! What may be wrong with an installation: each is told with its file and line and what to do, and nothing is written.

use std::fs;

use super::place::{Place, STORE_PASSWORD, said};

/// What is done to the guide's installation; more arguments; what is told.
type Row = (
    &'static str,
    fn(&Place),
    &'static [&'static str],
    &'static [&'static str],
);

const ROWS: &[Row] = &[
    (
        "no kms.properties",
        |at| remove(at, "kms.properties"),
        &[],
        &["kms/conf/kms.properties", "--from DIR"],
    ),
    (
        "no server.xml",
        |at| remove(at, "server.xml"),
        &[],
        &["tomcat/conf/server.xml", "--tomcat DIR"],
    ),
    (
        "no jgroups.xml",
        |at| remove(at, "jgroups.xml"),
        &[],
        &["conf/jgroups.xml cannot be read", "kms.properties:15"],
    ),
    (
        "no keystore",
        |at| remove(at, "kmsKeystore.jks"),
        &[],
        &[
            "kmsKeystore.jks cannot be read",
            "kms.properties:2 kms.keystore.file names it",
        ],
    ),
    (
        "a folder for a file",
        |at| {
            remove(at, "server.xml");
            fs::create_dir(at.file("server.xml")).unwrap();
        },
        &[],
        &["server.xml cannot be read: it is no regular file"],
    ),
    (
        "a giant",
        |at| fs::write(at.file("setenv.sh"), vec![b'#'; 1 << 21]).unwrap(),
        &[],
        &["setenv.sh cannot be read: it has more than"],
    ),
    (
        "an unknown property",
        |at| append(at, "kms.properties", "kms.hsm.sever.url=x\n"),
        &[],
        &[
            "kms.properties:17: unknown key kms.hsm.sever.url",
            "did you mean kms.hsm.server.url",
            "--leave-out KEY",
        ],
    ),
    (
        "a bad value",
        |at| at.edit("kms.properties", &[("5696", "many")]),
        &[],
        &[
            "kms.properties:7: kms.hsm.server.port = \"many\"",
            "1 to 65535",
        ],
    ),
    (
        "a bad escape",
        |at| append(at, "kms.properties", "kms.x=\\u12\n"),
        &[],
        &["kms.properties:17: malformed \\u"],
    ),
    (
        "no keystore named",
        |at| at.edit("kms.properties", &[("kms.keystore.file=", "#")]),
        &[],
        &["kms.keystore.file is not set", "README.md"],
    ),
    (
        "no HSM",
        |at| at.edit("kms.properties", &[("kms.hsm.server.url=", "#")]),
        &[],
        &["kms.hsm.server.url is not set"],
    ),
    (
        "a new configuration",
        |at| append(at, "kms.properties", "kms.server.port=1\n"),
        &[],
        &["kms.properties:17: kms.server.port is no setting of the original"],
    ),
    (
        "a wrong password",
        |at| at.edit("kms.properties", &[(STORE_PASSWORD, "wrong-one")]),
        &[],
        &[
            "kmsKeystore.jks",
            "the store password is wrong",
            "kms.properties:3",
        ],
    ),
    (
        "a damaged keystore",
        |at| cut(at),
        &[],
        &["kmsKeystore.jks", "cut short"],
    ),
    (
        "no keystore at all",
        |at| fs::write(at.file("kmsKeystore.jks"), "text").unwrap(),
        &[],
        &["this is not a keystore"],
    ),
    (
        "a client alias that is not there",
        |at| at.edit("kms.properties", &[("=kmsClient", "=kmsCleint")]),
        &[],
        &[
            "kms.properties:4 kms.keystore.alias = kmsCleint",
            "did you mean 'kmsclient'?",
            "Its private keys: kms",
        ],
    ),
    (
        "a server alias that is not there",
        |at| {
            at.edit(
                "server.xml",
                &[("keyAlias=\"kmsServer\"", "keyAlias=\"kmsSever\"")],
            )
        },
        &[],
        &[
            "server.xml:22 <Connector> keyAlias = kmsSever",
            "did you mean 'kmsserver'?",
        ],
    ),
    (
        "a server alias of a certificate",
        |at| {
            at.edit(
                "server.xml",
                &[("keyAlias=\"kmsServer\"", "keyAlias=\"cmxDevice\"")],
            )
        },
        &[],
        &["has no private key of that name"],
    ),
    (
        "malformed XML",
        |at| at.edit("server.xml", &[("</Service>", "</Servcie>")]),
        &[],
        &["server.xml:29: it is no well-formed XML"],
    ),
    (
        "a cut XML",
        |at| at.edit("server.xml", &[("</Server>", "")]),
        &[],
        &["server.xml: it ends before its outermost element"],
    ),
    (
        "a document type",
        |at| {
            at.edit(
                "server.xml",
                &[("<Server port=\"8005\"", "<!DOCTYPE x><Server port=\"8005\"")],
            )
        },
        &[],
        &["server.xml: it has a document type"],
    ),
    (
        "another XML",
        |at| fs::write(at.file("server.xml"), "<web-app/>").unwrap(),
        &[],
        &["<web-app> and not <Server>"],
    ),
    (
        "no TLS connector",
        |at| at.edit("server.xml", &[("SSLEnabled=\"true\" scheme", "scheme")]),
        &[],
        &["no <Connector> has SSLEnabled=\"true\""],
    ),
    (
        "two TLS connectors",
        |at| two(at),
        &[],
        &[
            "several TLS <Connector>s",
            "server.xml:9 port 9443",
            "server.xml:18 port 8443",
            "--port PORT",
        ],
    ),
    (
        "a port that is no connector's",
        |_| {},
        &["--port", "1"],
        &["no TLS <Connector> has port 1", "server.xml:17 port 8443"],
    ),
    (
        "a port that is none",
        |at| {
            at.edit(
                "server.xml",
                &[("port=\"8443\" protocol", "port=\"https\" protocol")],
            )
        },
        &[],
        &["server.xml:17 <Connector> port = https: no port"],
    ),
    (
        "a placeholder that nothing sets",
        |at| {
            at.edit(
                "server.xml",
                &[(
                    "keystorePass=\"kmsKeystorePwd\"\n               keyAlias=\"kmsServer\"",
                    "keyAlias=\"${kms.alias}\"",
                )],
            )
        },
        &[],
        &[
            "<Connector> keyAlias: the system property kms.alias",
            "--system-properties FILE",
        ],
    ),
    (
        "a hardware keystore",
        |at| {
            at.edit(
                "server.xml",
                &[("keyAlias=", "keystoreType=\"PKCS11\" keyAlias=")],
            )
        },
        &[],
        &["the type PKCS11 is not read"],
    ),
    (
        "no keystore in the connector",
        |at| {
            at.edit(
                "server.xml",
                &[(
                    "keystoreFile=\"/usr/share/kms/conf/kmsKeystore.jks\" keystorePass",
                    "keystorePass",
                )],
            )
        },
        &[],
        &["server.xml:17: the TLS <Connector> names no keystore"],
    ),
    (
        "a node without its port",
        |at| {
            at.edit(
                "jgroups.xml",
                &[("kms3.myCorp.com[7800]", "kms3.myCorp.com")],
            )
        },
        &[],
        &["jgroups.xml:8: <TCPPING> initial_hosts: \"kms3.myCorp.com\" is no host with its port"],
    ),
    (
        "malformed jgroups.xml",
        |at| at.edit("jgroups.xml", &[("</config>", "</conf>")]),
        &[],
        &["jgroups.xml:16: it is no well-formed XML"],
    ),
    (
        "a quote without end",
        |at| at.edit("setenv.sh", &[("/usr/lib/jvm/jre\"", "/usr/lib/jvm/jre")]),
        &[],
        &["bin/setenv.sh: line 7: a quote that is begun here does not end"],
    ),
    (
        "no system properties",
        |_| {},
        &["--system-properties", "/nowhere/x"],
        &["/nowhere/x cannot be read", "--system-properties FILE"],
    ),
];

fn remove(at: &Place, name: &str) {
    fs::remove_file(at.file(name)).unwrap();
}

fn append(at: &Place, name: &str, more: &str) {
    let text = fs::read_to_string(at.file(name)).unwrap();
    fs::write(at.file(name), text + more).unwrap();
}

fn cut(at: &Place) {
    let bytes = fs::read(at.file("kmsKeystore.jks")).unwrap();
    fs::write(at.file("kmsKeystore.jks"), &bytes[..bytes.len() / 2]).unwrap();
}

fn two(at: &Place) {
    let other = "<Connector port=\"9443\" SSLEnabled=\"true\" />\n    <Connector port=\"8080\"";
    at.edit("server.xml", &[("<Connector port=\"8080\"", other)]);
}

#[test]
fn what_is_wrong_is_told_with_its_place_and_nothing_is_written() {
    let good = Place::new();
    good.guide();
    for (name, spoil, more, wanted) in ROWS {
        let place = good.copy();
        spoil(&place);
        let (code, text) = place.migrate(more);
        assert_eq!(code, 2, "{name}: {text}");
        let told = said(&text);
        for part in *wanted {
            assert!(told.contains(part), "{name}: {part} in {text}");
        }
        assert!(
            !text.contains(STORE_PASSWORD) && !text.contains("wrong-one"),
            "{name}: {text}"
        );
        assert!(!place.to().exists(), "{name}: something was written");
    }
}

/// What is done to the guide's installation, and the option that answers.
type Answer = (&'static str, fn(&Place), &'static [&'static str]);

const ANSWERED: &[Answer] = &[
    (
        "--leave-out",
        |at| append(at, "kms.properties", "kms.hsm.sever.url=x\n"),
        &["--leave-out", "kms.hsm.sever.url"],
    ),
    ("--port", two, &["--port", "8443"]),
    (
        "--server-alias",
        |at| at.edit("server.xml", &[("keyAlias=\"kmsServer\"", "")]),
        &["--server-alias", "KMSSERVER"],
    ),
    (
        "no keyAlias, but one key beside the client's",
        |at| at.edit("server.xml", &[("keyAlias=\"kmsServer\"", "")]),
        &[],
    ),
    ("the folder above conf", |_| {}, &[]),
];

#[test]
fn what_was_asked_for_is_answered_by_an_option() {
    let good = Place::new();
    good.guide();
    for (name, spoil, more) in ANSWERED {
        let place = good.copy();
        spoil(&place);
        let (code, text) = if name.starts_with("the folder") {
            let (from, tomcat, to) = (place.root.path().join("kms"), place.tomcat(), place.to());
            let [from, tomcat, to] = [&from, &tomcat, &to].map(|path| path.to_str().unwrap());
            place.kms(
                &["migrate", "--from", from, "--tomcat", tomcat, "--to", to],
                &[],
            )
        } else {
            place.migrate(more)
        };
        assert_eq!(code, 0, "{name}: {text}");
        assert!(place.to().join("kms.properties").exists(), "{name}");
    }
}
