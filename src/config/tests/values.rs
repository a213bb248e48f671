//! Good and bad values, key by key.

use super::*;

#[test]
fn good_values() {
    for (line, key, want) in [
        ("kms.server.port = 0", "kms.server.port", "0"),
        ("kms.server.address=::1", "kms.server.address", "::1"),
        (
            "kms.health.address:[::]:9000",
            "kms.health.address",
            "[::]:9000",
        ),
        (
            "kms.request.body.max 1 MiB",
            "kms.request.body.max",
            "1 MiB",
        ),
        ("kms.cache.ttl.s=\\\n  60", "kms.cache.ttl.s", "60"),
        (
            "kms.hsm.timeout.ms=\\u0035\\u0030\\u0030",
            "kms.hsm.timeout.ms",
            "500",
        ),
        ("kms.hsm.protocol=KMIP1", "kms.hsm.protocol", "KMIP1"),
        ("# C:\\users is no escape", "kms.cache.type", "none"),
        (
            "kms.hsm.kmip.username=a\nkms.hsm.kmip.password=b",
            "kms.hsm.kmip.password",
            "(set)",
        ),
        ("kms.hsm.kmip.cipher=GCM", "kms.hsm.kmip.cipher", "GCM"),
        (
            "kms.hsm.server.name=hsm.example.com",
            "kms.hsm.server.name",
            "hsm.example.com",
        ),
        (
            "kms.log.level=DEBUG\nkms.log.format=json",
            "kms.log.format",
            "json",
        ),
        ("kms.cache.ttl.s=", "kms.cache.ttl.s", "300"),
    ] {
        let loaded = extended(line).unwrap_or_else(|error| panic!("{line}: {error}"));
        assert_eq!(shown(&loaded.config, key).0, want, "{line}");
    }
}

#[test]
fn sizes_of_bodies() {
    for (text, want) in [
        ("1048576", 1 << 20),
        ("512k", 512 << 10),
        ("1 MiB", 1 << 20),
        ("32M", 32 << 20),
        ("64 KB", 64 << 10),
    ] {
        let config = extended(&format!("kms.request.body.max={text}"))
            .unwrap()
            .config;
        assert_eq!(config.sizes.request_body_bytes_max, want, "{text}");
    }
}

#[test]
fn bad_values_name_what_is_wrong() {
    for (line, want) in [
        ("kms.server.port=65536", "too large; expected 0 to 65535"),
        ("kms.server.port=-1", "not a whole number"),
        ("kms.server.port=99999999999999999999999", "too large"),
        ("kms.server.address=host", "not an IP address"),
        ("kms.health.address=127.0.0.1", "the port is missing"),
        ("kms.health.address=127.0.0.1:x", "port \"x\""),
        ("kms.health.address=127.0.0.1:8443", "give one another port"),
        (
            "kms.request.body.max=33 MiB",
            "too large; expected 1 KiB to 32 MiB",
        ),
        ("kms.request.body.max=1 TiB", "not a size"),
        ("kms.request.body.max=99999999999G", "too large"),
        ("kms.hsm.batch.max=1025", "too large"),
        (
            "kms.hsm.timeout.ms=2s",
            "not a whole number; expected 10 to 600000 ms",
        ),
        ("kms.hsm.server.port=0", "too small"),
        (
            "kms.hsm.protocol=kmip2",
            "expected one of kmip1, VAULT, EMBEDDED",
        ),
        (
            "kms.cache.type=distributed",
            "/etc/kms/cluster.properties: cannot be read",
        ),
        ("kms.cache.type=shared", "expected one of none, distributed"),
        ("kms.hsm.fingerprint=abcd", "4 hex digits; expected 64"),
        ("kms.hsm.fingerprint=zz", "not hex digits"),
        ("kms.hsm.ca.alias=a,,b", "an item of the list is empty"),
        ("kms.keystore.alias=a,b", "one alias"),
        ("kms.keystore.alias=C:\\temp", "control character"),
        ("kms.log.level=\\u00", "malformed \\u escape"),
        (
            "kms.hsm.kmip.password=x",
            "kms.hsm.kmip.username is not set",
        ),
        (
            "kms.role.device.operations=decript",
            "did you mean decrypt?",
        ),
        ("kms.role.ops.keys=*", "kms.role.ops.aliases is not set"),
        (
            "kms.role.ops.aliases=CMXDEVICE*\nkms.role.ops.operations=all",
            "a certificate has one role",
        ),
        (
            "kms.role.device.alias=x",
            "did you mean kms.role.device.aliases?",
        ),
        ("kms.audit.fil=/x", "did you mean kms.audit.file?"),
        ("kms.proxy=on", "listed in conf/kms.properties"),
        ("KMS.SERVER.PORT=1", "did you mean kms.server.port?"),
        ("kms.server.port.file=/x", "unknown key"),
    ] {
        let error = extended(line).map(|_| ()).expect_err(line).to_string();
        assert!(error.contains(want), "{line}: {error}");
    }
}

#[test]
fn hsm_addresses() {
    for (url, want) in [
        ("https://kmshsm.myCorp.com", "kmshsm.mycorp.com:5696"),
        ("https://hsm:15696/", "hsm:15696"),
        ("hsm", "hsm:5696"),
        ("10.0.0.1:1", "10.0.0.1:1"),
        ("[2001:DB8::1]", "[2001:db8::1]:5696"),
        ("kmip://[::1]:7", "[::1]:7"),
        ("a, b:2", "a:5696 b:2"),
    ] {
        let config = extended(&format!("kms.hsm.server.url={url}"))
            .unwrap()
            .config;
        let got: Vec<_> = config
            .hsm
            .endpoints
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(got.join(" "), want, "{url}");
    }
    for (url, want) in [
        ("http://hsm", "only reached over TLS"),
        ("ftp://hsm", "scheme \"ftp\""),
        ("https://hsm/path", "more than a host and a port"),
        ("https://user@hsm", "more than a host and a port"),
        ("::1", "needs brackets"),
        ("[::1", "no ]"),
        ("[::1]x", "follows the ]"),
        ("hsm:0", "port \"0\""),
        ("hsm:", "port \"\""),
        ("a,,b", "an address is empty"),
        ("a,a", "named twice"),
        ("-a", "no host name"),
        ("https://", "no host name"),
    ] {
        let error = extended(&format!("kms.hsm.server.url={url}"))
            .map(|_| ())
            .expect_err(url)
            .to_string();
        assert!(error.contains(want), "{url}: {error}");
        assert_eq!(error.lines().count(), 2, "only this problem: {error}");
    }
}

#[test]
fn fingerprints() {
    let (plain, colons) = ("0a".repeat(32), vec!["0A"; 32].join(":"));
    for text in [
        plain.clone(),
        colons.clone(),
        format!("sha256 Fingerprint={colons}"),
    ] {
        let config = extended(&format!("kms.hsm.fingerprint={text}"))
            .unwrap()
            .config;
        assert_eq!(config.hsm.fingerprint, Some([10; 32]), "{text}");
    }
}

#[test]
fn roles_have_defaults_and_can_be_changed() {
    let config = extended("").unwrap().config;
    assert_eq!(config.roles.len(), 2);
    assert_eq!(
        (
            config.roles[0].name.as_str(),
            config.roles[0].operations.len()
        ),
        ("backend", 10)
    );
    assert_eq!(
        (
            config.roles[1].aliases.as_slice(),
            config.roles[1].keys.as_slice()
        ),
        (&["cmxdevice*".to_owned()][..], &["*".to_owned()][..])
    );
    assert_eq!(
        config.roles[1].operations,
        ["encrypt", "decrypt", "datakey", "read"]
    );

    let config = extended("kms.role.device.aliases=\nkms.role.ops.aliases=Ops1,ops2\nkms.role.ops.operations=read,list").unwrap().config;
    let names: Vec<_> = config
        .roles
        .iter()
        .map(|role| (role.name.as_str(), role.aliases.len()))
        .collect();
    assert_eq!(names, [("backend", 1), ("device", 0), ("ops", 2)]);
    assert_eq!(config.roles[2].aliases, ["ops1", "ops2"]);
}
