//! The client CAs of roles: what belongs together, and what may never be one.

use super::Builder;
use crate::config::error::Problem;
use crate::config::model::{RoleCa, RoleSettings};
use crate::config::table;
use crate::config::value::Value;
use crate::limits::CLIENT_CAS_MAX;

impl Builder<'_> {
    /// The client CAs of a role, if it names any.
    pub(super) fn role_ca(&mut self, role: &str) -> Option<RoleCa> {
        let key = |part: &str| format!("kms.role.{role}.ca.{part}");
        let held = |part: &str| self.all.held.get(&key(part)).map(|held| held.value.clone());
        let aliases = match held("alias") {
            Some(Value::List(aliases)) => aliases,
            _ => Vec::new(),
        };
        let subjects = match held("subjects") {
            Some(Value::Subjects(subjects)) => subjects,
            _ => Vec::new(),
        };
        let sans = match held("san") {
            Some(Value::AltNames(sans)) => sans,
            _ => Vec::new(),
        };
        let crl_file = match held("crl.file") {
            Some(Value::Path(file)) => Some(file),
            _ => None,
        };
        if aliases.is_empty() {
            let parts = ["subjects", "san", "crl.file"].map(key);
            let alone = parts.iter().find(|key| self.all.held.contains_key(*key));
            if let Some(alone) = alone.cloned() {
                self.missing(
                    &key("alias"),
                    &format!("{alone} is set, and goes with the keystore alias of a client CA"),
                );
            }
            return None;
        }
        let is_refused = |part: &str| self.all.refused.contains(&key(part));
        if subjects.is_empty() && sans.is_empty() && !is_refused("subjects") && !is_refused("san") {
            self.missing(
                &key("subjects"),
                &format!(
                    "say which certificates of {} have this role, by this or by {}; * takes all that it issues",
                    aliases.join(" and "),
                    key("san")
                ),
            );
        }
        Some(RoleCa {
            aliases,
            subjects,
            sans,
            crl_file,
        })
    }

    /// What no two keys may say together.
    pub(super) fn check_client_cas(&mut self, roles: &[RoleSettings]) {
        let hsm = match self.value(&table::HSM_CA_ALIAS) {
            Some(Value::List(aliases)) => aliases,
            _ => Vec::new(),
        };
        let cas = || {
            roles
                .iter()
                .filter_map(|role| Some((role, role.ca.as_ref()?)))
        };
        let mut conflicts = Vec::new();
        for (role, ca) in cas() {
            let shared = ca.aliases.iter().find(|alias| hsm.contains(alias));
            if let Some(alias) = shared {
                conflicts.push((
                    role,
                    format!(
                        "kms.role.{}.ca.alias names {alias}, and so does kms.hsm.ca.alias: the CA that vouches for the \
                         HSM never vouches for clients; have the clients' certificates issued by another",
                        role.name
                    ),
                ));
            }
        }
        for (index, (role, ca)) in cas().enumerate() {
            let others = cas()
                .skip(index + 1)
                .filter(|(_, other)| are_undecided(ca, other));
            conflicts.extend(others.map(|(other, _)| {
                let (one, two) = (&role.name, &other.name);
                (
                    other,
                    format!(
                        "kms.role.{one}.ca and kms.role.{two}.ca take the same certificates of one CA; a certificate \
                         has one role: narrow .ca.subjects or .ca.san"
                    ),
                )
            }));
        }
        let count: usize = cas().map(|(_, ca)| ca.aliases.len()).sum();
        if let (true, Some((last, _))) = (count > CLIENT_CAS_MAX, cas().next_back()) {
            let reason = format!("{count} client CAs in all roles; there may be {CLIENT_CAS_MAX}");
            conflicts.push((last, reason));
        }
        for (role, reason) in conflicts {
            let origin = self.origin(&format!("kms.role.{}.ca.alias", role.name));
            self.all.problems.push(Problem::Conflict { origin, reason });
        }
    }
}

/// Whether some certificate is sure to fit both. Globs that merely may overlap are judged by each certificate.
fn are_undecided(one: &RoleCa, other: &RoleCa) -> bool {
    fn share<T: PartialEq>(one: &[T], other: &[T]) -> bool {
        one.iter().any(|item| other.contains(item))
    }
    let same_subjects = share(&one.subjects, &other.subjects)
        || (one.subjects.is_empty() && other.subjects.is_empty());
    let same_sans = share(&one.sans, &other.sans) || (one.sans.is_empty() && other.sans.is_empty());
    share(&one.aliases, &other.aliases)
        && (one.takes_all() || other.takes_all() || (same_subjects && same_sans))
}
