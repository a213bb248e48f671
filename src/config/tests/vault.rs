//! What `kms.hsm.protocol = VAULT` needs, and in which words it is missed.

use super::*;

const VAULT: &str = "kms.keystore.file=k.jks\nkms.keystore.password=pw\nkms.hsm.server.url=https://vault\n\
                     kms.hsm.protocol=vault\n";

fn vault(lines: &str) -> Result<Loaded, ConfigError> {
    with_env(&format!("{VAULT}{lines}\n"), &[])
}

#[test]
fn what_is_not_set_has_its_default() {
    let config = vault("kms.hsm.vault.token=s.x").unwrap().config;
    assert_eq!(config.hsm.protocol, Protocol::Vault);
    assert_eq!(config.hsm.endpoints[0].to_string(), "vault:8200");
    let set = config.hsm.vault.unwrap();
    assert_eq!((set.namespace, &*set.mount), (None, "transit"));
    assert_eq!(set.renew_before_s, 30);
    let VaultAuth::Token { token, file } = set.auth else {
        panic!("{:?}", set.auth)
    };
    assert_eq!((token.expose(), file), ("s.x", None));
    let azure = vault("kms.hsm.vault.auth=azure\nkms.hsm.vault.auth.azure.role=kms").unwrap();
    let Some(VaultAuth::Azure(azure)) = azure.config.hsm.vault.map(|vault| vault.auth) else {
        panic!("no Azure")
    };
    assert_eq!(azure.path, "/v1/auth/azure/login");
    assert_eq!(azure.resource, "https://vault.hashicorp.com/");
}

#[test]
fn a_port_and_a_mount_may_be_set() {
    for (lines, want) in [
        ("kms.hsm.server.port=443", ("vault:443", "transit")),
        (
            "kms.hsm.vault.mount=/team-a/transit/",
            ("vault:8200", "team-a/transit"),
        ),
    ] {
        let config = vault(&format!("kms.hsm.vault.token=t\n{lines}"))
            .unwrap()
            .config;
        let mount = config.hsm.vault.unwrap().mount;
        assert_eq!((&*config.hsm.endpoints[0].to_string(), &*mount), want);
    }
}

#[test]
fn a_token_of_a_file_is_read_from_there_again() {
    use std::os::unix::fs::PermissionsExt as _;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("token");
    let write = |text: &str| {
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    };
    write("s.first\n");
    let loaded = vault(&format!("kms.hsm.vault.token.file={}", path.display())).unwrap();
    let Some(VaultAuth::Token { token, file }) = loaded.config.hsm.vault.map(|vault| vault.auth)
    else {
        panic!("no token")
    };
    assert_eq!((token.expose(), file.as_deref()), ("s.first", Some(&*path)));
    write("s.second\n");
    let again = reread_secret("kms.hsm.vault.token", &path).unwrap();
    assert_eq!(again.expose(), "s.second");
    std::fs::remove_file(&path).unwrap();
    let error = reread_secret("kms.hsm.vault.token", &path).unwrap_err();
    assert!(error.contains("kms.hsm.vault.token.file"), "{error}");
}

#[test]
fn what_is_wrong_is_named_with_its_remedy() {
    for (lines, want) in [
        (
            "",
            "kms.hsm.vault.token is not set: kms.hsm.vault.auth is token",
        ),
        (
            "kms.hsm.vault.token=a b",
            "kms.hsm.vault.token: it holds white space",
        ),
        (
            "kms.hsm.vault.auth=azure",
            "kms.hsm.vault.auth.azure.role is not set: kms.hsm.vault.auth is azure",
        ),
        (
            "kms.hsm.vault.auth=aws",
            "kms.hsm.vault.auth = \"aws\": not one of the choices; expected one of token, azure",
        ),
        (
            "kms.hsm.vault.token=t\nkms.hsm.vault.mount=../sys",
            "kms.hsm.vault.mount = \"../sys\": not the path of a mount",
        ),
        (
            "kms.hsm.vault.token=t\nkms.hsm.vault.mount=/",
            "kms.hsm.vault.mount = \"/\": not the path of a mount",
        ),
        (
            "kms.hsm.vault.token=t\nkms.hsm.vault.namespace=a b",
            "kms.hsm.vault.namespace = \"a b\": it goes into a header",
        ),
        (
            "kms.hsm.vault.auth=azure\nkms.hsm.vault.auth.azure.role=r\nkms.hsm.vault.auth.azure.path=auth/azure/login",
            "not a request path of a Vault: it begins with /v1/",
        ),
        (
            "kms.hsm.vault.auth=azure\nkms.hsm.vault.auth.azure.role=r\nkms.hsm.vault.auth.azure.metadata=10.0.0.1:80",
            "neither Azure's address nor a loopback address",
        ),
        (
            "kms.hsm.vault.token=t\nkms.hsm.vault.auth.renew-before-expiry=0",
            "too small; expected 1 to 86400 s",
        ),
    ] {
        let error = vault(lines).map(|_| ()).unwrap_err().to_string();
        assert!(error.contains(want), "{lines:?}: {error}");
        assert!(
            !error.contains("a b\": it holds"),
            "a token is shown: {error}"
        );
    }
    let missing = VAULT.replace(
        "kms.hsm.server.url=https://vault\n",
        "kms.hsm.vault.token=t\n",
    );
    let error = with_env(&missing, &[]).map(|_| ()).unwrap_err().to_string();
    assert!(
        error.contains("kms.hsm.protocol is VAULT, so name the HSM"),
        "{error}"
    );
}
