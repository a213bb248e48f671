//! The Azure login end to end: a metadata service of the test's own, and OpenBao's JWT method mounted where the
//! Azure method would be. Signature, audience, issuer and claims are really checked; what the Azure method itself
//! asks of Azure is not.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod vault_support;

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use vault_support::service_support::Running;
use vault_support::service_support::transit::ciphertext_of;
use vault_support::{Bao, house, is_ready, node, public_key_pem, wait, wait_health};

const TENANT: &str = "11111111-2222-3333-4444-555555555555";
const RESOURCE: &str = "https://vault.example/";
/// What stands before the point in a P-256 public key (DER).
const P256: [u8; 26] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a,
    0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];

fn base64url(bytes: &[u8]) -> String {
    let mut text = vec![0; kms::wire::base64::encoded_len(bytes.len())];
    kms::wire::base64::encode(bytes, &mut text).unwrap();
    let text = String::from_utf8(text).unwrap();
    text.trim_end_matches('=')
        .replace('+', "-")
        .replace('/', "_")
}

/// Azure's metadata service, for one machine.
struct Metadata {
    port: u16,
    public_key: String,
    /// Tokens given.
    given: Arc<AtomicUsize>,
}

impl Metadata {
    /// The first request for a token is answered 429.
    fn start() -> Self {
        let random = SystemRandom::new();
        let pkcs8 =
            EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).unwrap();
        let key =
            EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8.as_ref(), &random);
        let key = key.unwrap();
        let spki = [&P256[..], key.public_key().as_ref()].concat();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let given = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&given);
        std::thread::spawn(move || {
            let mut asked = 0;
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let head = head_of(&mut stream);
                let (status, body) = if !head.to_lowercase().contains("\r\nmetadata: true") {
                    (400, r#"{"error":"bad_request_102","error_description":"Required metadata header not specified"}"#.to_owned())
                } else if head.starts_with("GET /metadata/instance?api-version=2018-02-01 ") {
                    (200, instance())
                } else if head.starts_with("GET /metadata/identity/oauth2/token?api-version=2018-02-01&resource=https%3A%2F%2Fvault.example%2F ") {
                    asked += 1;
                    if asked == 1 {
                        (429, "{}".to_owned())
                    } else {
                        count.fetch_add(1, Ordering::Relaxed);
                        (200, token(&key, &random))
                    }
                } else {
                    (404, "{}".to_owned())
                };
                let length = body.len();
                let answer =
                    format!("HTTP/1.1 {status} X\r\nContent-Length: {length}\r\n\r\n{body}");
                let _ = stream.write_all(answer.as_bytes());
            }
        });
        Self {
            port,
            public_key: public_key_pem(&spki),
            given,
        }
    }

    fn given(&self) -> usize {
        self.given.load(Ordering::Relaxed)
    }
}

fn head_of(stream: &mut TcpStream) -> String {
    let mut seen = Vec::new();
    let mut chunk = [0; 1024];
    while !seen.windows(4).any(|four| four == b"\r\n\r\n") {
        match stream.read(&mut chunk) {
            Ok(read @ 1..) => seen.extend_from_slice(&chunk[..read]),
            _ => break,
        }
    }
    String::from_utf8_lossy(&seen).into_owned()
}

fn instance() -> String {
    format!(
        r#"{{"compute":{{"azEnvironment":"AzurePublicCloud","location":"westeurope","name":"kms-vm1","osType":"Linux","resourceGroupName":"kms-rg","subscriptionId":"{TENANT}","vmId":"{TENANT}","vmScaleSetName":"","zone":"1"}},"network":{{"interface":[]}}}}"#
    )
}

fn token(key: &EcdsaKeyPair, random: &SystemRandom) -> String {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs();
    let until = now + 3599;
    let header = base64url(br#"{"alg":"ES256","typ":"JWT","kid":"k1"}"#);
    let claims = format!(
        r#"{{"aud":"{RESOURCE}","iss":"https://sts.windows.net/{TENANT}/","iat":{now},"nbf":{now},"exp":{until},"oid":"o-1","sub":"o-1","tid":"{TENANT}","ver":"1.0"}}"#
    );
    let signed = format!("{header}.{}", base64url(claims.as_bytes()));
    let signature = key.sign(random, signed.as_bytes()).unwrap();
    let jwt = format!("{signed}.{}", base64url(signature.as_ref()));
    format!(
        r#"{{"access_token":"{jwt}","client_id":"c","expires_in":"3599","expires_on":"{until}","ext_expires_in":"3599","not_before":"{now}","resource":"{RESOURCE}","token_type":"Bearer"}}"#
    )
}

/// OpenBao with a key `k` and the role `kms`, whose tokens live 2 s, and 4 s in all.
fn bao(house: &vault_support::service_support::House, metadata: &Metadata) -> Bao {
    let bao = Bao::start(house);
    bao.root("POST", "transit/keys/k", "");
    bao.root("POST", "sys/auth/azure", r#"{"type":"jwt"}"#);
    let key = metadata.public_key.replace('\n', "\\n");
    bao.root(
        "POST",
        "auth/azure/config",
        &format!(
            r#"{{"jwt_validation_pubkeys":["{key}"],"jwt_supported_algs":["ES256"],"bound_issuer":"https://sts.windows.net/{TENANT}/"}}"#
        ),
    );
    bao.root(
        "POST",
        "auth/azure/role/kms",
        &format!(
            r#"{{"role_type":"jwt","bound_audiences":["{RESOURCE}"],"user_claim":"oid","bound_claims":{{"tid":"{TENANT}"}},"token_policies":["kms"],"token_ttl":"2s","token_max_ttl":"4s"}}"#
        ),
    );
    bao
}

fn start(role: &str, path: &str) -> (Running, Bao, Metadata) {
    let (house, metadata) = (house(), Metadata::start());
    let bao = bao(&house, &metadata);
    let lines = format!(
        "kms.hsm.vault.auth=azure\nkms.hsm.vault.auth.azure.role={role}\n\
         kms.hsm.vault.auth.azure.resource={RESOURCE}\nkms.hsm.vault.auth.azure.path={path}\n\
         kms.hsm.vault.auth.azure.metadata=127.0.0.1:{}",
        metadata.port
    );
    (node(house, &bao, &lines), bao, metadata)
}

#[test]
fn the_machine_logs_in_and_again_before_its_token_ends() {
    let (running, bao, metadata) = start("kms", "/v1/auth/azure/login");
    wait_health(&running, "ready", is_ready);
    // Three tokens: two whole lives of one. No request fails meanwhile, and each is one for OpenBao.
    wait("three logins", || {
        let said = bao.root("POST", "transit/encrypt/k", r#"{"plaintext":"aGVsbG8="}"#);
        let body = format!(r#"{{"ciphertext":"{}"}}"#, ciphertext_of(&said));
        let answer = running.device().post("/v1/transit/decrypt/k", &body);
        assert_eq!(answer.status, 200, "{}", answer.body);
        assert!(
            answer.body.contains("\"plaintext\":\"aGVsbG8=\""),
            "{}",
            answer.body
        );
        (metadata.given() >= 3).then_some(())
    });
    assert!(is_ready(&vault_support::health(&running)));
    running.stop();
}

#[test]
fn a_refused_login_is_told_with_its_remedy() {
    for (role, path, want) in [
        (
            "nope",
            "/v1/auth/azure/login",
            "the Azure login is refused: role \"nope\" could not be found",
        ),
        (
            "kms",
            "/v1/auth/elsewhere/login",
            "kms.hsm.vault.auth.azure.path its path?",
        ),
    ] {
        let (running, _bao, _metadata) = start(role, path);
        let health = wait_health(&running, role, |health| health.access.refused.is_some());
        assert!(health.detail.contains(want), "{health:?}");
        assert!(!health.was_up, "{health:?}");
        let ready = kms::admin::readiness(running.node.shared());
        assert_eq!((ready.state, ready.status), ("starting", 503));
        let body = r#"{"ciphertext":"vault:v1:r5DMUrXye3a6ETqb6qHrzgGh5ktcEIy3dUFaS9vcAELE"}"#;
        let answer = running.device().post("/v1/transit/decrypt/k", body);
        assert_eq!(answer.status, 502, "{}", answer.body);
        running.stop();
    }
}
