//! Which certificate has which role, for people.

use crate::node::{ClientCa, RoleHolders};

/// A line for each role, one for each of its client CAs, and one for the certificates that have none.
pub(super) fn lines(roles: &[RoleHolders], without: &[String]) -> Vec<String> {
    let mut lines = Vec::new();
    for role in roles {
        let (name, operations, keys) = (&role.role, role.operations.join(","), role.keys.join(","));
        let held = match (role.certificates.as_slice(), role.client_cas.as_slice()) {
            ([], []) => "NOBODY".to_owned(),
            ([], _) => "no certificate of the keystore".to_owned(),
            (aliases, _) => aliases.join(", "),
        };
        lines.push(format!("{name} ({operations} on {keys}): {held}"));
        lines.extend(role.client_cas.iter().map(|ca| line(role, ca)));
    }
    if !without.is_empty() {
        lines.push(format!("no role, so refused: {}", without.join(", ")));
    }
    lines
}

fn line(role: &RoleHolders, ca: &ClientCa) -> String {
    let ClientCa {
        alias,
        subject,
        revoked,
    } = ca;
    let which = [
        ("subject", role.ca_subjects.join(";")),
        ("name", role.ca_san.join(",")),
    ];
    let which = which.iter().filter(|(_, globs)| !globs.is_empty());
    let which: Vec<String> = which
        .map(|(what, globs)| format!("{what} {globs}"))
        .collect();
    let revoked = match revoked {
        Some(revoked) => format!("revoked: {revoked}"),
        None => "no list of revoked ones".to_owned(),
    };
    format!(
        "  and what client CA {alias} ({subject}) issues with {}; {revoked}",
        which.join(" and ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roles_read_both_ways() {
        let text = |text: &str| text.to_owned();
        let role = |name: &str, certificates: &[&str]| RoleHolders {
            role: text(name),
            operations: vec!["read", "list"],
            keys: vec![text("*")],
            certificates: certificates.iter().map(|&alias| text(alias)).collect(),
            client_cas: Vec::new(),
            ca_subjects: Vec::new(),
            ca_san: Vec::new(),
        };
        let ca = |alias: &str, revoked| ClientCa {
            alias: text(alias),
            subject: text("CN=CA"),
            revoked,
        };
        let fleet = RoleHolders {
            client_cas: vec![ca("one", None), ca("two", Some(3))],
            ca_subjects: vec![text("CN=a*"), text("CN=b*")],
            ca_san: vec![text("DNS:*")],
            ..role("fleet", &[])
        };
        let roles = [role("backend", &["a", "b"]), role("device", &[]), fleet];
        let told = lines(&roles, &[text("x"), text("y")]).join("\n");
        assert_eq!(
            told,
            "backend (read,list on *): a, b\n\
             device (read,list on *): NOBODY\n\
             fleet (read,list on *): no certificate of the keystore\n  \
             and what client CA one (CN=CA) issues with subject CN=a*;CN=b* and name DNS:*; no list of revoked ones\n  \
             and what client CA two (CN=CA) issues with subject CN=a*;CN=b* and name DNS:*; revoked: 3\n\
             no role, so refused: x, y"
        );
    }
}
