//! `kms keystore` and `kms cert` against keytool and openssl, both ways, with the guide's chain of authorities.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

const PASSWORD: &str = "changeit-1";

/// A folder with a root, an intermediate authority and a password file.
struct Desk {
    dir: tempfile::TempDir,
}

impl Desk {
    fn new() -> Self {
        let desk = Self {
            dir: tempfile::tempdir().unwrap(),
        };
        desk.write("password", &format!("{PASSWORD}\n"));
        desk.write("other", "something-else\n");
        desk.write(
            "ca.ext",
            "basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign\n",
        );
        desk.openssl("req -x509 -newkey rsa:2048 -nodes -keyout root.key -out root.crt -days 900 -subj /CN=Root");
        desk.openssl(
            "req -newkey rsa:2048 -nodes -keyout inter.key -out inter.csr -subj /CN=Inter",
        );
        desk.openssl("x509 -req -in inter.csr -CA root.crt -CAkey root.key -days 800 -extfile ca.ext -out inter.crt");
        desk
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    fn run(&self, program: &str, line: &str) -> (i32, String) {
        let mut command = Command::new(program);
        command.current_dir(self.dir.path()).args(line.split(' '));
        command.env_remove("KMS_KEYSTORE_PASSWORD");
        let output = command
            .output()
            .unwrap_or_else(|error| panic!("{program} is needed ({error}): run ./test install"));
        let text = [output.stdout, output.stderr].concat();
        let text = String::from_utf8_lossy(&text).into_owned();
        (output.status.code().unwrap_or(-1), text)
    }

    fn good(&self, program: &str, line: &str) -> String {
        let (code, said) = self.run(program, line);
        assert_eq!(code, 0, "{program} {line}: {said}");
        said
    }

    fn openssl(&self, line: &str) -> String {
        self.good("openssl", line)
    }

    fn keytool(&self, line: &str) -> String {
        self.good("keytool", &format!("{line} -storepass {PASSWORD}"))
    }

    fn kms(&self, line: &str) -> (i32, String) {
        self.run(env!("CARGO_BIN_EXE_kms"), line)
    }

    /// With the password file, and code 0.
    fn kms_good(&self, line: &str) -> String {
        self.good(
            env!("CARGO_BIN_EXE_kms"),
            &format!("{line} --password-file password"),
        )
    }

    /// A key and a request by us, signed by openssl's intermediate authority.
    fn signed(&self, name: &str, more: &str) {
        let (code, said) = self.kms(&format!(
            "cert csr {name} --common-name {name}.example.com --country de --organization Example --locality Bonn{more}"
        ));
        assert_eq!(code, 0, "{said}");
        self.openssl(&format!(
            "x509 -req -in {name}.csr -CA inter.crt -CAkey inter.key -days 400 -copy_extensions copy -out {name}.crt"
        ));
    }
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn requests_of_every_kind_of_key_are_what_openssl_wants() {
    let desk = Desk::new();
    for (kind, want) in [
        ("rsa-2048", "(2048 bit)"),
        ("rsa-3072", "(3072 bit)"),
        ("p-256", "prime256v1"),
        ("p-384", "secp384r1"),
    ] {
        let (code, said) = desk.kms(&format!(
            "cert csr {kind} --common-name kms.example.com --state NRW --organizational-unit IT --san lb.example.com \
             --san 10.0.0.1 --key {kind}"
        ));
        assert_eq!(code, 0, "{kind}: {said}");
        let said = desk.openssl(&format!("req -in {kind}.csr -noout -verify -text"));
        for text in [
            want,
            "ST = NRW, OU = IT, CN = kms.example.com",
            "DNS:kms.example.com, DNS:lb.example.com, IP Address:10.0.0.1",
        ] {
            assert!(said.contains(text), "{kind}: {text} in {said}");
        }
        assert_eq!(mode(&desk.path(&format!("{kind}.key"))), 0o600);
        desk.openssl(&format!("pkey -in {kind}.key -noout"));
        let (code, said) = desk.kms(&format!("cert csr {kind} --common-name x"));
        assert!(code == 2 && said.contains("exists"), "{said}");
    }
}

#[test]
fn a_keystore_is_made_as_the_guide_wants_it_and_keytool_reads_it() {
    let desk = Desk::new();
    desk.signed("kmsServer", " --san lb.example.com");
    desk.signed("cmxDevice", " --key p-256");
    desk.kms_good("keystore init store.p12");
    // The chain in the wrong order, with the root.
    let said = desk.kms_good(
        "cert import store.p12 --alias kmsServer --key kmsServer.key --cert root.crt --cert inter.crt --cert kmsServer.crt",
    );
    assert!(
        said.contains("added 'kmsServer'") && said.contains("store.p12.old"),
        "{said}"
    );
    desk.kms_good("keystore import store.p12 --alias cmxDevice --cert cmxDevice.crt");
    assert_eq!(mode(&desk.path("store.p12")), 0o600);

    let listed = desk.keytool("-list -v -keystore store.p12");
    assert!(
        listed.contains("Your keystore contains 2 entries"),
        "{listed}"
    );
    assert!(
        listed.contains("Certificate chain length: 2"),
        "without the root: {listed}"
    );
    assert!(listed.contains("trustedCertEntry"), "{listed}");
    desk.openssl(&format!(
        "pkcs12 -in store.p12 -nodes -passin pass:{PASSWORD} -out all.pem"
    ));

    let said = desk.kms_good("keystore list store.p12");
    for text in [
        "store.p12: PKCS12, entries 2",
        "kmsserver: private key, chain of 2; for: server certificate",
        "names    kmsServer.example.com, lb.example.com",
        "cmxdevice: trusted certificate; for: role device",
        "days left",
    ] {
        assert!(said.contains(text), "{text} in {said}");
    }
    let json = desk.kms_good("keystore list store.p12 --json");
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["entries"][1]["chain"], 2, "{json}");

    desk.kms_good("keystore remove store.p12 --alias CMXDEVICE");
    assert!(
        desk.keytool("-list -keystore store.p12")
            .contains("contains 1 entry")
    );
    let said = desk.run(
        env!("CARGO_BIN_EXE_kms"),
        "keystore diff store.p12 store.p12.old --password-file password",
    );
    assert!(said.0 == 1 && said.1.contains("+ 'cmxdevice'"), "{said:?}");
}

#[test]
fn old_keystores_become_pkcs12() {
    let desk = Desk::new();
    desk.signed("kmsServer", "");
    desk.openssl(&format!(
        "pkcs12 -export -inkey kmsServer.key -in kmsServer.crt -certfile inter.crt -name kmsServer -passout pass:{PASSWORD} -out one.p12"
    ));
    for kind in ["JKS", "JCEKS"] {
        let store = format!("{kind}.keystore");
        desk.keytool(&format!(
            "-importkeystore -noprompt -srckeystore one.p12 -srcstorepass {PASSWORD} -destkeystore {store} -deststoretype {kind} -deststorepass {PASSWORD}"
        ));
        let said = desk.kms_good(&format!("keystore convert {store} --to {kind}.p12"));
        assert!(said.contains(&format!("({kind}) was written")), "{said}");
        let same = desk.kms_good(&format!("keystore diff {store} {kind}.p12"));
        assert!(same.contains("the same entries"), "{same}");
        let said = desk.kms_good(&format!(
            "keystore import {store} --alias root --cert root.crt"
        ));
        assert!(
            said.contains(&format!("was {kind} and is PKCS12 now")),
            "{said}"
        );
        let listed = desk.keytool(&format!("-list -keystore {store}"));
        assert!(listed.contains("contains 2 entries"), "{listed}");
        // The other way round: keytool goes on with what we wrote.
        desk.keytool(&format!(
            "-importcert -noprompt -alias inter -file inter.crt -keystore {store}"
        ));
        assert!(
            desk.kms_good(&format!("keystore list {store}"))
                .contains("entries 3")
        );
    }
    desk.kms_good("keystore init new.p12");
    desk.kms_good(
        "keystore import new.p12 --alias server --from one.p12 --from-password-file password",
    );
    assert!(
        desk.keytool("-list -v -keystore new.p12")
            .contains("Certificate chain length: 2")
    );
}

/// Name, arguments, what is told; exit code 2 each.
const BAD: &[(&str, &str, &str)] = &[
    (
        "wrong password",
        "keystore list good.p12 --password-file other",
        "password",
    ),
    (
        "truncated",
        "keystore list half.p12 --password-file password",
        "half.p12",
    ),
    (
        "no such file",
        "keystore list none.p12 --password-file password",
        "none.p12",
    ),
    (
        "not a keystore",
        "keystore list kmsServer.crt --password-file password",
        "PEM",
    ),
    (
        "no password",
        "keystore list good.p12 --password-file none",
        "none",
    ),
    (
        "alias not there",
        "keystore remove good.p12 --alias kmsSever --password-file password",
        "did you mean 'kmsserver'",
    ),
    (
        "alias there in other case",
        "keystore import good.p12 --alias KMSSERVER --cert root.crt --password-file password",
        "--replace",
    ),
    (
        "key of another",
        "cert import good.p12 --alias b --key inter.key --cert kmsServer.crt --password-file password",
        "does not belong to its certificate",
    ),
    (
        "no certificate",
        "cert import good.p12 --alias b --key kmsServer.key --cert kmsServer.key --password-file password",
        "no certificate is in it",
    ),
    (
        "no key",
        "cert import good.p12 --alias b --key kmsServer.crt --cert kmsServer.crt --password-file password",
        "no private key is in it",
    ),
    (
        "encrypted key",
        "cert import good.p12 --alias b --key enc.key --cert kmsServer.crt --password-file password",
        "is encrypted",
    ),
    (
        "two to trust",
        "keystore import good.p12 --alias b --cert root.crt --cert inter.crt --password-file password",
        "each its own alias",
    ),
    (
        "over another file",
        "keystore init good.p12 --password-file password",
        "exists",
    ),
    (
        "country",
        "cert csr x --common-name x --country Germany",
        "two letters",
    ),
    (
        "order",
        "cert verify wrong.pem",
        "certificate 1 was not issued by certificate 2",
    ),
    (
        "foreign key",
        "cert verify chain.pem --key inter.key",
        "does not belong to its certificate",
    ),
    (
        "foreign authority",
        "cert verify chain.pem --ca kmsServer.crt",
        "has issued the last",
    ),
    (
        "another host",
        "cert verify chain.pem --host other.example.com",
        "does not hold the name",
    ),
];

#[test]
fn what_is_bad_is_told_and_changes_nothing() {
    let desk = Desk::new();
    desk.signed("kmsServer", "");
    desk.kms_good("keystore init good.p12");
    desk.kms_good("cert import good.p12 --alias kmsServer --key kmsServer.key --cert kmsServer.crt --cert inter.crt");
    let good = fs::read(desk.path("good.p12")).unwrap();
    fs::write(desk.path("half.p12"), &good[..good.len() / 2]).unwrap();
    desk.openssl("pkcs8 -topk8 -in kmsServer.key -out enc.key -passout pass:x");
    let [own, inter] =
        ["kmsServer.crt", "inter.crt"].map(|name| fs::read_to_string(desk.path(name)).unwrap());
    desk.write("chain.pem", &format!("{own}{inter}"));
    desk.write("wrong.pem", &format!("{inter}{own}"));
    for (name, line, want) in BAD {
        let (code, said) = desk.kms(line);
        assert_eq!(code, 2, "{name}: {said}");
        assert!(said.contains(want), "{name}: {said}");
    }
    assert_eq!(fs::read(desk.path("good.p12")).unwrap(), good);
    let said = desk.kms(
        "cert verify chain.pem --key kmsServer.key --ca root.crt --host kmsServer.example.com",
    );
    assert!(said.0 == 0 && said.1.contains("all well"), "{said:?}");
    let said = desk.kms("cert show chain.pem");
    assert!(said.0 == 0 && said.1.contains("CN=Inter"), "{said:?}");
}

#[test]
fn a_trial_has_all_that_the_guide_lists() {
    let desk = Desk::new();
    let said = desk.kms_good("cert new trial --host kms.example.com --hsm-host hsm.example.com");
    assert!(said.contains("kmsKeystore.p12"), "{said}");
    let listed = desk.keytool("-list -keystore trial/kmsKeystore.p12");
    assert!(listed.contains("contains 5 entries"), "{listed}");
    for (leaf, authority, host) in [
        ("kmsServer", "ca", Some("kms.example.com")),
        ("cmxDevice", "ca", None),
        ("cmxBackend", "ca", None),
        ("kmsClient", "kmipSigningCA", None),
        ("hsmServer", "kmipSigningCA", Some("hsm.example.com")),
    ] {
        desk.openssl(&format!(
            "verify -CAfile trial/{authority}.crt trial/{leaf}.crt"
        ));
        let host = host.map_or_else(String::new, |host| format!(" --host {host}"));
        let line = format!(
            "cert verify trial/{leaf}.crt --key trial/{leaf}.key --ca trial/{authority}.crt{host}"
        );
        let (code, said) = desk.kms(&line);
        assert_eq!(code, 0, "{leaf}: {said}");
        assert_eq!(mode(&desk.path(&format!("trial/{leaf}.key"))), 0o600);
    }
    let (code, said) = desk.kms("cert new trial --password-file password");
    assert!(code == 2 && said.contains("another folder"), "{said}");

    let line = "cert handover parcel --url https://kms.example.com:8443 --cert trial/cmxBackend.crt --key trial/cmxBackend.key";
    desk.kms_good(line);
    let letter = fs::read_to_string(desk.path("parcel/README.txt")).unwrap();
    assert!(letter.contains("https://kms.example.com:8443") && letter.contains("CN=cmxBackend"));
    assert!(!letter.contains(PASSWORD));
    assert!(
        desk.keytool("-list -keystore parcel/cmxBackend.p12")
            .contains("cmxbackend")
    );
}
