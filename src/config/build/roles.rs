//! Roles with their defaults, and the list of all settings for `kms check`.

use super::Builder;
use crate::config::error::Problem;
use crate::config::model::{RoleSettings, Setting};
use crate::config::table::{self, Default as KeyDefault, KEYS, ROLE_KEYS};
use crate::config::value::{OPERATION_NAMES, Value};

impl Builder<'_> {
    pub(super) fn roles(&mut self) -> Vec<RoleSettings> {
        let mut names = std::mem::take(&mut self.all.roles);
        names.extend(["backend".to_owned(), "device".to_owned()]);
        names.sort();
        names.dedup();
        let roles: Vec<RoleSettings> = names
            .into_iter()
            .filter_map(|name| self.role(name))
            .collect();
        for (index, role) in roles.iter().enumerate() {
            for (other, alias) in roles
                .iter()
                .skip(index + 1)
                .flat_map(|other| other.aliases.iter().map(move |alias| (other, alias)))
            {
                if role.aliases.contains(alias) {
                    let (one, two) = (&role.name, &other.name);
                    let reason = format!(
                        "kms.role.{one}.aliases and kms.role.{two}.aliases both name {alias}; a certificate has one role"
                    );
                    let origin = self.origin(&format!("kms.role.{two}.aliases"));
                    self.all.problems.push(Problem::Conflict { origin, reason });
                }
            }
        }
        self.check_client_cas(&roles);
        roles
    }

    fn role(&mut self, name: String) -> Option<RoleSettings> {
        let ca = self.role_ca(&name);
        let held = |part: &str| {
            self.all
                .held
                .get(&format!("kms.role.{name}.{part}"))
                .map(|held| held.value.clone())
        };
        let list = |part| {
            if let Some(Value::List(list)) = held(part) {
                Some(list)
            } else {
                None
            }
        };
        let operations = if let Some(Value::Operations(list)) = held("operations") {
            Some(list)
        } else {
            None
        };
        let (usual_aliases, usual_operations) = match name.as_str() {
            "device" => (
                Some("cmxdevice*"),
                Some(vec!["encrypt", "decrypt", "datakey", "read"]),
            ),
            "backend" => (Some("cmxbackend*"), Some(OPERATION_NAMES.to_vec())),
            _ => (None, None),
        };
        let aliases = list("aliases")
            .or_else(|| usual_aliases.map(|alias| vec![alias.to_owned()]))
            .or_else(|| ca.is_some().then(Vec::new));
        let operations = operations.or(usual_operations);
        let keys = list("keys").unwrap_or_else(|| vec!["*".to_owned()]);
        if aliases.is_none() {
            self.missing(
                &format!("kms.role.{name}.aliases"),
                "name the keystore aliases that have this role, or a CA that vouches for its holders with \
                 kms.role.NAME.ca.alias",
            );
        }
        if operations.is_none() {
            self.missing(
                &format!("kms.role.{name}.operations"),
                "name what this role may do, or all",
            );
        }
        let aliases = aliases?.iter().map(|alias| alias.to_lowercase()).collect();
        Some(RoleSettings {
            name,
            aliases,
            operations: operations?,
            keys,
            ca,
        })
    }

    /// Every key for `kms check`, roles last.
    pub(super) fn settings(&self) -> Vec<Setting> {
        let one = |name: &str, default: KeyDefault| self.setting(name, default);
        let keys = KEYS.iter().map(|key| one(key.name, key.default));
        let held = self
            .all
            .held
            .keys()
            .filter(|name| table::role_part(name).is_some());
        let usual = ["device", "backend"].into_iter().flat_map(|role| {
            ROLE_KEYS
                .iter()
                .map(move |key| key.name.replace("NAME", role))
        });
        let mut roles: Vec<String> = held.cloned().chain(usual).collect();
        roles.sort();
        roles.dedup();
        let default = |name: &str| match (name.rsplit('.').next(), name.contains(".device.")) {
            (Some("aliases"), true) => KeyDefault::Value("cmxDevice*"),
            (Some("aliases"), false) => KeyDefault::Value("cmxBackend*"),
            (Some("operations"), true) => KeyDefault::Value("encrypt,decrypt,datakey,read"),
            (Some("operations"), false) => KeyDefault::Value("all"),
            _ => table::role_part(name).map_or(KeyDefault::None, |(_, key)| key.default),
        };
        keys.chain(roles.iter().map(|name| one(name, default(name))))
            .collect()
    }

    /// What holds for one key.
    pub(in crate::config) fn setting(&self, name: &str, default: KeyDefault) -> Setting {
        let held = self.all.held.get(name);
        let value = match (held, default) {
            (Some(held), _) => held.shown.clone(),
            (None, KeyDefault::Value(text)) => text.to_owned(),
            (None, KeyDefault::Derived(rule)) => format!("({rule})"),
            (None, KeyDefault::None) => "(not set)".to_owned(),
        };
        Setting {
            key: name.to_owned(),
            value,
            origin: self.origin(name),
        }
    }
}
