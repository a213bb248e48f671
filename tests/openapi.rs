//! `docs/openapi.json` against the running server, both ways: what it describes is answered as it
//! says, and what is served stands in it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::pedantic,
    clippy::panic,
    missing_docs
)]

#[path = "differential/exchange.rs"]
mod exchange;
#[path = "differential/peers.rs"]
mod peers;
#[path = "openapi/schema.rs"]
mod schema;
mod support;

use exchange::Answer;
use peers::{Ours, Peer as _};
use serde_json::{Value, json};

const DOCUMENT: &str = include_str!("../docs/openapi.json");
const KEY: &str = "orders";

/// Every endpoint of the router. A new one belongs here and into the document.
const SERVED: &[(&str, &[&str])] = &[
    ("/v1/auth/cert/login", &["post", "put"]),
    ("/v1/auth/token/lookup-self", &["get", "post", "put"]),
    ("/v1/auth/token/renew-self", &["post", "put"]),
    ("/v1/auth/token/revoke-self", &["post", "put"]),
    ("/v1/sys/health", &["get", "head"]),
    ("/v1/sys/init", &["get"]),
    ("/v1/sys/leader", &["get"]),
    ("/v1/sys/seal-status", &["get"]),
    ("/v1/transit/datakey/{kind}/{key}", &["post", "put"]),
    ("/v1/transit/decrypt/{key}", &["post", "put"]),
    ("/v1/transit/encrypt/{key}", &["post", "put"]),
    ("/v1/transit/keys", &["get"]),
    ("/v1/transit/keys/{key}", &["delete", "get", "post", "put"]),
    ("/v1/transit/keys/{key}/config", &["post", "put"]),
    ("/v1/transit/keys/{key}/rotate", &["post", "put"]),
    ("/v1/transit/rewrap/{key}", &["post", "put"]),
];

const METHODS: [&str; 6] = ["get", "head", "post", "put", "delete", "patch"];

struct Server {
    ours: Ours,
    document: Value,
}

impl Server {
    fn start() -> Self {
        let document = serde_json::from_str(DOCUMENT).expect("docs/openapi.json");
        let ours = Ours::start(&[]);
        Self { ours, document }
    }

    fn ask(&mut self, method: &str, path: &str, body: Option<&str>) -> Answer {
        let (upper, body) = (method.to_uppercase(), body.unwrap_or(""));
        let length = body.len();
        let request = format!(
            "{upper} {path} HTTP/1.1\r\nHost: localhost\r\nX-KMS-Server-Timing: 1\r\n\
             Content-Length: {length}\r\n\r\n{body}"
        );
        let answer = self.ours.ask(request.as_bytes(), upper == "HEAD");
        answer.unwrap_or_else(|why| panic!("{upper} {path}: {why}"))
    }

    fn wrap(&mut self) -> String {
        let path = format!("/v1/transit/encrypt/{KEY}");
        let answer = self.ask("post", &path, Some(r#"{"plaintext":"aGVsbG8="}"#));
        let body: Value = serde_json::from_slice(&answer.body).unwrap();
        body["data"]["ciphertext"]
            .as_str()
            .expect("a ciphertext")
            .to_owned()
    }

    /// Panics unless the answer has a status that is documented, with a body that fits.
    fn fits(&self, what: &str, operation: &Value, answer: &Answer) {
        let shown = String::from_utf8_lossy(&answer.body).into_owned();
        let responses = &operation["responses"][answer.status.to_string()];
        assert!(
            !responses.is_null(),
            "{what}: {} is not documented: {shown}",
            answer.status
        );
        let response = schema::resolve(&self.document, responses);
        let wanted = &response["content"]["application/json"]["schema"];
        if wanted.is_null() {
            assert_eq!(shown, "", "{what}: no body is documented");
            return;
        }
        let body: Value = serde_json::from_slice(&answer.body).expect(what);
        if let Err(why) = schema::validate(&self.document, wanted, &body) {
            panic!("{what}: {why}: {shown}");
        }
    }
}

/// Path, method and operation of all that is documented; deletions last.
fn operations(document: &Value) -> Vec<(String, String, Value)> {
    let mut found = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for method in METHODS {
            if let Some(operation) = item.get(method) {
                found.push((path.clone(), method.to_owned(), operation.clone()));
            }
        }
    }
    found.sort_by_key(|(_, method, _)| method == "delete");
    found
}

/// The path with its parameters' examples, and the query parameters that are required.
fn example_path(document: &Value, path: &str, operation: &Value) -> String {
    let mut filled = path.to_owned();
    let of_path = document["paths"][path]["parameters"].as_array();
    let of_operation = operation["parameters"].as_array();
    for parameter in of_path.into_iter().chain(of_operation).flatten() {
        let parameter = schema::resolve(document, parameter);
        let text = |field: &str| parameter[field].as_str().unwrap_or_default();
        match text("in") {
            "path" => {
                filled = filled.replace(&format!("{{{}}}", text("name")), text("example"));
            }
            "query" if parameter["required"] == json!(true) => {
                filled = format!("{filled}?{}={}", text("name"), text("example"));
            }
            _ => {}
        }
    }
    assert!(
        !filled.contains('{'),
        "{filled}: a parameter without an example"
    );
    filled
}

#[test]
fn every_documented_operation_is_answered_as_it_says() {
    let mut server = Server::start();
    let created = server.ask("post", &format!("/v1/transit/keys/{KEY}"), None);
    assert_eq!(created.status, 200);
    let ciphertext = server.wrap();
    for (path, method, operation) in operations(&server.document.clone()) {
        let target = example_path(&server.document, &path, &operation);
        let content = &operation["requestBody"]["content"]["application/json"];
        let mut bodies = vec![("no body", None)];
        for (name, example) in content["examples"].as_object().into_iter().flatten() {
            let fits = schema::validate(&server.document, &content["schema"], &example["value"]);
            assert_eq!(fits, Ok(()), "{method} {path}: example {name}");
            bodies.push((name, Some(example["value"].to_string())));
        }
        if content["schema"].is_object() {
            bodies.push(("malformed", Some("{".to_owned())));
        }
        let good = bodies.len() > 2;
        let mut succeeded = !good && operation["requestBody"]["required"] != json!(true);
        for (name, body) in bodies {
            let body = body.map(|body| body.replace("vault:v1:EXAMPLE", &ciphertext));
            let answer = server.ask(&method, &target, body.as_deref());
            let what = format!("{method} {target}, {name}");
            server.fits(&what, &operation, &answer);
            succeeded |= answer.status < 300;
            assert!(
                name != "malformed" || answer.status == 400,
                "{what}: {}",
                answer.status
            );
        }
        assert!(succeeded, "{method} {path}: no example succeeds");
    }
}

#[test]
fn nothing_is_served_that_is_not_documented() {
    let mut server = Server::start();
    let mut documented: Vec<(String, Vec<String>)> = Vec::new();
    for (path, item) in server.document["paths"].as_object().unwrap() {
        let mut methods: Vec<_> = item.as_object().unwrap().keys().cloned().collect();
        methods.retain(|method| METHODS.contains(&method.as_str()));
        methods.sort();
        documented.push((path.clone(), methods));
    }
    let served: Vec<(String, Vec<String>)> = SERVED
        .iter()
        .map(|(path, methods)| {
            let methods = methods.iter().map(|&method| method.to_owned());
            ((*path).to_owned(), methods.collect())
        })
        .collect();
    assert_eq!(
        documented, served,
        "the document's paths, and this test's table"
    );
    for (path, methods) in &served {
        let target = path.replace("{key}", "absent").replace("{kind}", "wrapped");
        for method in METHODS
            .iter()
            .filter(|method| !methods.iter().any(|held| held == *method))
        {
            let answer = server.ask(method, &target, None);
            assert!(
                (400..500).contains(&answer.status),
                "{method} {target} is served ({}) and not documented",
                answer.status
            );
        }
    }
}

#[test]
fn list_is_a_method_too_and_timing_is_told_when_asked_for() {
    let mut server = Server::start();
    server.ask("post", &format!("/v1/transit/keys/{KEY}"), None);
    let list = server.document["paths"]["/v1/transit/keys"]["get"].clone();
    assert_eq!(list["x-methods"], json!(["LIST"]));
    let answer = server.ask("list", "/v1/transit/keys", None);
    assert_eq!(answer.status, 200);
    server.fits("LIST", &list, &answer);
    let body = Some(r#"{"plaintext":"aGVsbG8="}"#);
    let wrapped = server.ask("post", &format!("/v1/transit/encrypt/{KEY}"), body);
    let timed = wrapped
        .headers
        .iter()
        .find(|(name, _)| name.eq_ignore_ascii_case("Server-Timing"));
    assert!(
        timed.is_some_and(|(_, value)| value.contains("dur=")),
        "{:?}",
        wrapped.headers
    );
}
