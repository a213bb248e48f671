//! vaultrs against a Transit server, as a Rust program would use it.
//!
//! `VAULT_ADDR`, `VAULT_CACERT`, `VAULT_CLIENT_CERT` and `VAULT_CLIENT_KEY` say where and who; vaultrs
//! reads them by itself. `TRANSIT_KEY` names the key that is made and deleted. A `VAULT_TOKEN` is used
//! where there is one (OpenBao needs it). A line for each step, and an end at the first wrong answer.
//!
//! vaultrs has no batches, so neither has this. Its answers are strict structs: a member that the
//! server leaves out is an error here.

use std::fmt::Debug;
use std::process::ExitCode;

use vaultrs::api::transit::requests::{
    DataKeyType, GenerateDataKeyRequest, UpdateKeyConfigurationRequest,
};
use vaultrs::api::transit::responses::{ReadKeyData, ReadKeyResponse};
use vaultrs::auth::cert;
use vaultrs::client::{Client, VaultClient, VaultClientSettingsBuilder};
use vaultrs::error::ClientError;
use vaultrs::sys::{self, ServerStatus};
use vaultrs::transit::{data, generate, key};

const DEK: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
const SECOND: &str = "c2Vjb25k";
const TOO_OLD: &str = "ciphertext or signature version is disallowed by policy (too old)";

/// What was expected and what came instead.
struct Wrong(String);

impl From<ClientError> for Wrong {
    fn from(error: ClientError) -> Self {
        Wrong(format!("expected an answer, got {error:?}"))
    }
}

fn equal<T: PartialEq + Debug>(expected: T, got: T) -> Result<(), Wrong> {
    if expected == got {
        return Ok(());
    }
    Err(Wrong(format!("expected {expected:?}, got {got:?}")))
}

fn begins(prefix: &str, got: &str) -> Result<(), Wrong> {
    if got.starts_with(prefix) {
        return Ok(());
    }
    Err(Wrong(format!("expected {prefix}..., got {got}")))
}

/// Whether the call was answered by this status and, if there is one, by this text.
fn refused<T: Debug>(status: u16, text: &str, answer: Result<T, ClientError>) -> Result<(), Wrong> {
    match answer {
        Err(ClientError::APIError { code, errors })
            if code == status && errors.join("\n").contains(text) =>
        {
            Ok(())
        }
        other => Err(Wrong(format!("expected {status} {text}, got {other:?}"))),
    }
}

/// One run: the client, its key, and the step under way.
struct Run {
    client: VaultClient,
    key: String,
    step: &'static str,
}

impl Run {
    fn step(&mut self, name: &'static str) {
        self.step = name;
        println!("{name}");
    }

    async fn encrypt(&self, plaintext: &str) -> Result<String, ClientError> {
        let sealed = data::encrypt(&self.client, "transit", &self.key, plaintext, None).await?;
        Ok(sealed.ciphertext)
    }

    async fn decrypt(&self, ciphertext: &str) -> Result<String, ClientError> {
        let opened = data::decrypt(&self.client, "transit", &self.key, ciphertext, None).await?;
        Ok(opened.plaintext)
    }

    async fn read(&self) -> Result<ReadKeyResponse, ClientError> {
        key::read(&self.client, "transit", &self.key).await
    }

    /// The newest version that the key is described with.
    async fn latest(&self) -> Result<u64, Wrong> {
        match self.read().await?.keys {
            ReadKeyData::Symmetric(versions) => {
                let numbers = versions.keys().filter_map(|version| version.parse().ok());
                Ok(numbers.max().unwrap_or_default())
            }
            other => Err(Wrong(format!(
                "expected versions with times, got {other:?}"
            ))),
        }
    }

    async fn data(&mut self) -> Result<String, Wrong> {
        self.step("create");
        key::create(&self.client, "transit", &self.key, None).await?;
        self.step("read");
        let described = self.read().await?;
        equal(
            "Aes256Gcm96".to_owned(),
            format!("{:?}", described.key_type),
        )?;
        equal(false, described.deletion_allowed)?;
        equal(1, self.latest().await?)?;
        self.step("encrypt");
        let old = self.encrypt(DEK).await?;
        begins("vault:v1:", &old)?;
        self.step("decrypt");
        equal(DEK.to_owned(), self.decrypt(&old).await?)?;

        self.step("datakey plaintext");
        let (client, name) = (&self.client, &self.key);
        let made =
            generate::data_key(client, "transit", name, DataKeyType::Plaintext, None).await?;
        let plaintext = made.plaintext.unwrap_or_default();
        equal(44, plaintext.len())?;
        equal(plaintext, self.decrypt(&made.ciphertext).await?)?;
        self.step("datakey wrapped");
        let mut short = GenerateDataKeyRequest::builder();
        short.bits(128_u16);
        let (client, name) = (&self.client, &self.key);
        let made = generate::data_key(
            client,
            "transit",
            name,
            DataKeyType::Wrapped,
            Some(&mut short),
        )
        .await?;
        equal(None, made.plaintext)?;
        equal(24, self.decrypt(&made.ciphertext).await?.len())?;
        Ok(old)
    }

    async fn versions(&mut self, old: &str) -> Result<String, Wrong> {
        self.step("rotate");
        key::rotate(&self.client, "transit", &self.key).await?;
        equal(2, self.latest().await?)?;
        self.step("decrypt after rotate");
        equal(DEK.to_owned(), self.decrypt(old).await?)?;
        self.step("encrypt after rotate");
        let newer = self.encrypt(SECOND).await?;
        begins("vault:v2:", &newer)?;
        equal(SECOND.to_owned(), self.decrypt(&newer).await?)?;
        self.step("rewrap");
        let new = data::rewrap(&self.client, "transit", &self.key, old, None).await?;
        let new = new.ciphertext;
        begins("vault:v2:", &new)?;
        equal(DEK.to_owned(), self.decrypt(&new).await?)?;
        equal(DEK.to_owned(), self.decrypt(old).await?)?;
        self.step("list");
        let names = key::list(&self.client, "transit").await?.keys;
        equal(true, names.contains(&self.key))?;
        self.step("config min_decryption_version");
        let mut change = UpdateKeyConfigurationRequest::builder();
        change.min_decryption_version(2);
        key::update(&self.client, "transit", &self.key, Some(&mut change)).await?;
        equal(2, self.read().await?.min_decryption_version)?;
        refused(400, TOO_OLD, self.decrypt(old).await)?;
        equal(DEK.to_owned(), self.decrypt(&new).await?)?;
        Ok(new)
    }

    async fn deletion(&mut self, new: &str) -> Result<(), Wrong> {
        self.step("delete refused");
        let answer = key::delete(&self.client, "transit", &self.key).await;
        refused(400, "deletion is not allowed for this key", answer)?;
        equal(DEK.to_owned(), self.decrypt(new).await?)?;
        self.step("config deletion_allowed");
        let mut change = UpdateKeyConfigurationRequest::builder();
        change.deletion_allowed(true);
        key::update(&self.client, "transit", &self.key, Some(&mut change)).await?;
        equal(true, self.read().await?.deletion_allowed)?;
        self.step("delete");
        key::delete(&self.client, "transit", &self.key).await?;
        self.step("read after delete");
        refused(404, "", self.read().await)?;
        refused(400, "encryption key not found", self.decrypt(new).await)
    }

    async fn around(&mut self) -> Result<(), Wrong> {
        self.client.set_token("");
        self.step("status");
        match self.client.status().await {
            Ok(ServerStatus::OK) => {
                let health = sys::health(&self.client).await?;
                equal((true, false), (health.initialized, health.sealed))?;
            }
            // OpenBao's own health leaves out what vaultrs insists on; nobody else is excused.
            Err(error)
                if std::env::var("TRANSIT_PEER").as_deref() == Ok("openbao")
                    && format!("{error:?}").contains("performance_standby") => {}
            other => return Err(Wrong(format!("expected OK, got {other:?}"))),
        }
        self.step("login");
        let login = cert::login(&self.client, "cert", "").await?;
        self.client.set_token(&login.client_token);
        self.step("token lookup");
        equal(login.client_token, self.client.lookup().await?.id)?;
        self.step("token renew");
        equal(
            false,
            self.client.renew(None).await?.client_token.is_empty(),
        )?;
        self.step("token revoke");
        Ok(self.client.revoke().await?)
    }

    async fn all(&mut self) -> Result<(), Wrong> {
        let old = self.data().await?;
        let new = self.versions(&old).await?;
        self.deletion(&new).await?;
        self.around().await
    }
}

fn begin() -> Result<Run, String> {
    let key = std::env::var("TRANSIT_KEY").map_err(|_| "TRANSIT_KEY is not set")?;
    let settings = VaultClientSettingsBuilder::default()
        .build()
        .map_err(|error| error.to_string())?;
    if settings.identity.is_none() {
        return Err("vaultrs found no usable VAULT_CLIENT_CERT and VAULT_CLIENT_KEY".to_owned());
    }
    let client = VaultClient::new(settings).map_err(|error| format!("{error:?}"))?;
    Ok(Run {
        client,
        key,
        step: "start",
    })
}

fn main() -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let (runtime, mut run) = match (runtime, begin()) {
        (Ok(runtime), Ok(run)) => (runtime, run),
        (Err(error), _) => {
            println!("FAILED start: {error}");
            return ExitCode::FAILURE;
        }
        (_, Err(error)) => {
            println!("FAILED start: {error}");
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(run.all()) {
        Ok(()) => {
            println!("all steps right");
            ExitCode::SUCCESS
        }
        Err(Wrong(what)) => {
            println!("FAILED {}: {what}", run.step);
            ExitCode::FAILURE
        }
    }
}
