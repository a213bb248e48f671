//! Bodies of datakey, config, rotate and the token endpoints; queries of lists.

use super::*;

const PREFIX: &str = "Field validation failed: error converting input for field";

/// Debug form, or the text of the 400.
fn shown<T>(result: Result<T, Refusal>, show: impl FnOnce(T) -> String) -> Result<String, String> {
    result.map(show).map_err(|refusal| {
        assert_eq!(refusal.status, 400, "{}", refusal.text);
        refusal.text.into_owned()
    })
}

fn datakey(body: &str, form: bool) -> Result<String, String> {
    shown(datakey_body(body.as_bytes(), form), |read| {
        let text =
            |text: Option<Text<'_>>| text.map_or("-".to_owned(), |text| text.as_str().to_owned());
        let (data, context) = (text(read.associated_data), text(read.context));
        format!(
            "{} {} {data} {context} {:?}",
            read.bits, read.key_version, read.warnings
        )
    })
}

#[test]
fn datakey_bodies_that_are_read() {
    let both = "Endpoint replaced the value of these parameters with the values captured from the \
                endpoint's path: [plaintext name]";
    let ignored = "Endpoint ignored these unrecognized parameters: [bar foo]";
    for (body, form, want) in [
        ("", false, "256 0 - - []".to_owned()),
        ("null", false, "256 0 - - []".to_owned()),
        ("{}", true, "256 0 - - []".to_owned()),
        (r#"{"bits":128}"#, false, "128 0 - - []".to_owned()),
        (r#"{"bits":"512"}"#, false, "512 0 - - []".to_owned()),
        (r#"{"bits":null}"#, false, "0 0 - - []".to_owned()),
        (r#"{"bits":""}"#, false, "0 0 - - []".to_owned()),
        (r#"{"bits":-1}"#, false, "-1 0 - - []".to_owned()),
        (
            r#"{"key_version":"1","context":"aGk=","associated_data":5}"#,
            false,
            "256 1 5 aGk= []".to_owned(),
        ),
        (
            r#"{"context":null,"associated_data":"","key_version":null}"#,
            false,
            "256 0 - - []".to_owned(),
        ),
        (
            r#"{"foo":1,"bar":2,"name":"z","plaintext":{}}"#,
            false,
            format!("256 0 - - {:?}", [ignored, both]),
        ),
        (
            "nonce=1",
            true,
            format!(
                "256 0 - - {:?}",
                ["Endpoint ignored these unrecognized parameters: [nonce]"]
            ),
        ),
        ("bits=128", true, "128 0 - - []".to_owned()),
    ] {
        assert_eq!(datakey(body, form), Ok(want), "{body}");
    }
}

#[test]
fn datakey_bodies_that_are_refused() {
    for (body, form, want) in [
        (
            r#"{"bits":"abc"}"#,
            false,
            format!(
                "{PREFIX} \"bits\": '' cannot parse value as 'int': strconv.ParseInt: invalid syntax"
            ),
        ),
        (
            r#"{"bits":[1]}"#,
            false,
            format!(
                "{PREFIX} \"bits\": '' expected type 'int', got unconvertible type '[]interface {{}}'"
            ),
        ),
        (
            r#"{"bits":99999999999999999999}"#,
            false,
            format!(
                "{PREFIX} \"bits\": '' cannot parse value as 'int': strconv.ParseInt: value out of range"
            ),
        ),
        (
            "bits=128&bits=256",
            true,
            format!(
                "{PREFIX} \"bits\": '' cannot parse value as 'int': strconv.ParseInt: invalid syntax"
            ),
        ),
        ("%zz", true, "error parsing form data".to_owned()),
        (
            r#"{"bits":"#,
            false,
            "failed to decode JSON input: unexpected EOF".to_owned(),
        ),
        (
            "[1]",
            false,
            "failed to decode JSON input: json: cannot unmarshal array into Go value of type \
             map[string]interface {}"
                .to_owned(),
        ),
    ] {
        assert_eq!(datakey(body, form), Err(want), "{body}");
    }
}

fn config(body: &str, form: bool) -> Result<String, String> {
    shown(config_body(body.as_bytes(), form), |read| {
        format!(
            "{:?} {:?} {:?} {:?} {:?} {:?} {:?}",
            read.min_decryption_version,
            read.min_encryption_version,
            read.deletion_allowed,
            read.exportable,
            read.allow_plaintext_backup,
            read.auto_rotate_period_s,
            read.warnings
        )
    })
}

#[test]
fn config_bodies_that_are_read() {
    let nothing = "None None None None None None []";
    for (body, form, want) in [
        ("", false, nothing),
        ("null", false, nothing),
        ("{}", false, nothing),
        ("", true, nothing),
        (
            r#"{"min_decryption_version":"1","min_encryption_version":-1}"#,
            false,
            "Some(1) Some(-1) None None None None []",
        ),
        (
            r#"{"min_decryption_version":null,"min_encryption_version":""}"#,
            false,
            "Some(0) Some(0) None None None None []",
        ),
        (
            r#"{"deletion_allowed":"true","exportable":0,"allow_plaintext_backup":null}"#,
            false,
            "None None Some(true) Some(false) Some(false) None []",
        ),
        (
            r#"{"auto_rotate_period":"1d"}"#,
            false,
            "None None None None None Some(86400) []",
        ),
        (r#"{"auto_rotate_period":null}"#, false, nothing),
        (
            r#"{"auto_rotate_period":""}"#,
            false,
            "None None None None None Some(0) []",
        ),
        (
            "min_decryption_version=1&deletion_allowed=t",
            true,
            "Some(1) None Some(true) None None None []",
        ),
        (
            r#"{"type":"x","derived":true}"#,
            false,
            "None None None None None None \
             [\"Endpoint ignored these unrecognized parameters: [derived type]\"]",
        ),
    ] {
        assert_eq!(config(body, form).as_deref(), Ok(want), "{body}");
    }
}

#[test]
fn config_bodies_that_are_refused() {
    for (body, field, what) in [
        (
            r#"{"min_decryption_version":"x"}"#,
            "min_decryption_version",
            "'' cannot parse value as 'int': strconv.ParseInt: invalid syntax",
        ),
        (
            r#"{"min_encryption_version":{}}"#,
            "min_encryption_version",
            "'' expected type 'int', got unconvertible type 'map[string]interface {}'",
        ),
        (
            r#"{"deletion_allowed":2}"#,
            "deletion_allowed",
            "'' cannot parse value as 'bool': strconv.ParseBool: invalid syntax",
        ),
        (
            r#"{"exportable":{}}"#,
            "exportable",
            "'' expected type 'bool', got unconvertible type 'map[string]interface {}'",
        ),
        (
            r#"{"auto_rotate_period":"x"}"#,
            "auto_rotate_period",
            "time: invalid duration \"x\"",
        ),
        (
            r#"{"auto_rotate_period":-1}"#,
            "auto_rotate_period",
            "cannot provide negative value '-1'",
        ),
        (
            r#"{"auto_rotate_period":[1]}"#,
            "auto_rotate_period",
            "could not parse duration from input",
        ),
    ] {
        let want = format!("{PREFIX} \"{field}\": {what}");
        assert_eq!(config(body, false), Err(want), "{body}");
    }
}

#[test]
fn bodies_of_which_nothing_is_used() {
    let warned = |body: &str, form| {
        shown(ignored_body(body.as_bytes(), form, &["known"]), |read| {
            read.warnings.join(" | ")
        })
    };
    let ignored = "Endpoint ignored these unrecognized parameters:";
    for (body, form, want) in [
        ("", false, String::new()),
        ("null", false, String::new()),
        (r#"{"known":{}}"#, false, String::new()),
        (
            r#"{"a":1,"name":"r"}"#,
            false,
            format!("{ignored} [a] | {NAMED}"),
        ),
        ("null", true, format!("{ignored} [null]")),
    ] {
        assert_eq!(warned(body, form), Ok(want), "{body}");
    }
    assert!(warned("%zz", true).is_err());
    assert!(warned("[1]", false).is_err());
    for (body, good) in [
        ("", true),
        (r#"{"name":""}"#, true),
        (r#"{"name":5,"x":1}"#, true),
        (r#"{"increment":"1h"}"#, true),
        (r#"{"name":{}}"#, false),
        (r#"{"increment":"x"}"#, false),
        (r#"{"increment":-1}"#, false),
        (r#"{"increment":[]}"#, false),
        (r#"{"token":{}}"#, true),
    ] {
        let known = ["name", "increment"];
        let read = token_body(body.as_bytes(), false, &known);
        assert_eq!(read.is_ok(), good, "{body}");
    }
}

#[test]
fn what_a_query_names_in_vain_is_told() {
    let ignored = |names: &str| {
        vec![format!(
            "Endpoint ignored these unrecognized parameters: [{names}]"
        )]
    };
    for (query, of_get, of_list, of_read) in [
        ("", "-", "-", "-"),
        ("list=true", "-", "list", "list"),
        ("foo=1&bar=2&foo=3", "bar foo", "bar foo", "bar foo"),
        ("after=a&limit=2", "-", "-", "after limit"),
        ("type=x&derived", "derived type", "derived type", "-"),
        ("a%20b=c&x;y=1", "a b", "a b", "a b"),
        ("=x", "", "", ""),
    ] {
        let want = |names: &str| match names {
            "-" => Vec::new(),
            names => ignored(names),
        };
        let list = |by_query| list_query(query, by_query).unwrap().warnings;
        assert_eq!(list(true), want(of_get), "GET {query}");
        assert_eq!(list(false), want(of_list), "LIST {query}");
        assert_eq!(key_query(query).unwrap(), want(of_read), "read {query}");
    }
    let named = key_query("name=x").unwrap();
    assert!(named[0].ends_with("path: [name]"), "{named:?}");
    assert!(key_query("derived=abc").is_err());
}

#[test]
fn list_queries() {
    let range = |query: &str| {
        shown(list_query(query, true), |query| {
            format!("{} {:?}", query.after, query.limit)
        })
    };
    for (query, want) in [
        ("", " None"),
        ("list=true&after=k1&limit=1", "k1 Some(1)"),
        ("limit=0", " None"),
        ("limit=-1", " None"),
        ("limit=", " None"),
        ("limit=0x10", " Some(16)"),
        ("limit=%31&after=a+b", "a b Some(1)"),
        ("after=%C3%A9", "é None"),
        ("after=%zz&limit=;2", " None"),
        ("after=%ff", "\u{fffd} None"),
        ("&&after", " None"),
        ("List=1&After=x", " None"),
    ] {
        assert_eq!(range(query).as_deref(), Ok(want), "{query}");
    }
    let syntax = "'' cannot parse value as 'int': strconv.ParseInt: invalid syntax";
    for (query, field, what) in [
        ("limit=abc", "limit", syntax),
        ("limit=1.5", "limit", syntax),
        ("limit=+1", "limit", syntax),
        (
            "limit=99999999999999999999",
            "limit",
            "'' cannot parse value as 'int': strconv.ParseInt: value out of range",
        ),
        (
            "after=a&after=b",
            "after",
            "'' expected type 'string', got unconvertible type '[]string'",
        ),
    ] {
        let want = format!("{PREFIX} \"{field}\": {what}");
        assert_eq!(range(query), Err(want), "{query}");
    }
    for (query, want) in [
        ("list=true", Ok(true)),
        ("list=T", Ok(true)),
        ("list=true&list=x", Ok(true)),
        ("x=1&list=%31", Ok(true)),
        ("list", Ok(false)),
        ("list=0", Ok(false)),
        ("", Ok(false)),
        ("list=yes", Err(Refusal::bad_request(""))),
    ] {
        assert_eq!(wants_list(query), want, "{query}");
    }
}

#[test]
fn batches_and_nesting_are_limited_as_openbaos() {
    let batch =
        |item: &str, count: usize| format!("{{\"batch_input\":[{}]}}", vec![item; count].join(","));
    let (plain, with_reference) = (
        r#"{"plaintext":"aGk="}"#,
        r#"{"plaintext":"aGk=","reference":"r"}"#,
    );
    let complex = "refused JSON input due to high complexity: exceeded maximum number of strings";
    for (item, count, good) in [
        (plain, 499, true),
        (plain, 500, false),
        (with_reference, 249, true),
        (with_reference, 250, false),
    ] {
        let body = batch(item, count);
        let read = crypt_body(Verb::Encrypt, body.as_bytes());
        match read {
            Ok(read) => assert!(good && read.len() == count, "{count}"),
            Err(refusal) => {
                assert_eq!(refusal.text, complex, "{count}");
                assert!(!good, "{count}");
            }
        }
    }
    let deep = format!("{{\"plaintext\":{}{}}}", "[".repeat(600), "]".repeat(600));
    let text = "error converting input for field \"plaintext\": '' expected type 'string', got \
                unconvertible type '[]interface {}'";
    let refused = crypt_body(Verb::Encrypt, deep.as_bytes()).err();
    assert_eq!(refused, Some(Refusal::bad_request(text)));
}
