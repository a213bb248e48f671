//! `conf/kms.properties`, written from the table.

use std::fmt::Write;

use super::table::{Book, Default, Key, MAIN, ROLE_KEYS};
use super::value::expected;

const HEAD: &str = "\
# Connected KMS: every setting.
#
# A setting that is commented out has the value shown. An environment variable wins over this file:
# KMS_HSM_SERVER_URL over kms.hsm.server.url, and so on. A password may be kept in a file of its own,
# mode 0600: kms.keystore.password.file = /etc/kms/keystore.password
# Check this file with: kms check --config FILE
";

const CLUSTER_HEAD: &str = "\
# Connected KMS: every setting of the cache that several nodes share. docs/cluster.md tells how to set it up.
#
# kms.properties names this file: kms.cache.type = distributed, kms.distributed.cache.config.file = FILE
# A setting that is commented out has the value shown. An environment variable wins over this file:
# KMS_CLUSTER_ADDRESSES over kms.cluster.addresses, and so on. A password may be kept in a file of its own,
# mode 0600: kms.cluster.password.file = /etc/kms/cluster.password
# Check it with: kms check
";

/// The example file: every key, commented out, with default, range and help.
pub fn render_template() -> String {
    render_book(&MAIN, HEAD)
}

/// The same of `cluster.properties`.
pub fn render_cluster_template() -> String {
    render_book(&super::cluster::table::CLUSTER, CLUSTER_HEAD)
}

/// Keys are grouped by the second part of their names, where it differs.
fn render_book(book: &Book, head: &str) -> String {
    let mut text = head.to_owned();
    let mut group = "";
    let roles: &[Key] = if book.has_roles { &ROLE_KEYS } else { &[] };
    for key in book.keys.iter().copied().chain(roles) {
        let this = key.name.split('.').nth(1).unwrap_or_default();
        if this != group && book.has_roles {
            group = this;
            _ = writeln!(text, "\n# ---- {group} ----");
        }
        render(&mut text, key);
    }
    text
}

fn render(text: &mut String, key: &Key) {
    text.push('\n');
    for line in wrap(key.help, 98) {
        _ = writeln!(text, "# {line}");
    }
    for line in wrap(&format!("Value: {}.", expected(key.kind)), 98) {
        _ = writeln!(text, "# {line}");
    }
    let default = match key.default {
        Default::None => "not set".to_owned(),
        Default::Value(value) => value.to_owned(),
        Default::Derived(rule) => rule.to_owned(),
    };
    for line in wrap(&format!("Default: {default}"), 98) {
        _ = writeln!(text, "# {line}");
    }
    if !key.only_with.is_empty() {
        let only = key.only_with.join(" or ");
        _ = writeln!(text, "# Only with kms.hsm.protocol = {only}.");
    }
    let value = if let Default::Value(value) = key.default {
        value
    } else {
        ""
    };
    text.push_str(format!("#{} = {value}", key.name).trim_end());
    text.push('\n');
}

fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let Some(line) = lines.last_mut() else { break };
        if line.is_empty() {
            line.push_str(word);
        } else if line.len() + 1 + word.len() <= width {
            line.push(' ');
            line.push_str(word);
        } else {
            lines.push(word.to_owned());
        }
    }
    lines
}
