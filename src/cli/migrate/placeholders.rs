//! `${name}` in the files of Tomcat and `JGroups`, and the system properties that it stands for.
//!
//! Must never be true: a value of these in an error: it may be a password.

use zeroize::Zeroizing;

use crate::secret::SecretString;

/// System properties of Tomcat's Java; of two with one name the later counts.
#[derive(Default)]
pub(super) struct SystemProperties(Vec<(String, SecretString)>);

/// How a default is written behind a name.
#[derive(Clone, Copy)]
pub(super) enum Dialect {
    /// `${name:-default}`.
    Tomcat,
    /// `${name:default}`, `${name,other:default}`.
    Jgroups,
}

/// No such property, and no default.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Unresolved(pub(super) String);

impl SystemProperties {
    pub(super) fn set(&mut self, name: &str, value: &str) {
        self.0
            .push((name.to_owned(), SecretString::new(value.to_owned())));
    }

    pub(super) fn get(&self, name: &str) -> Option<&str> {
        let mut found = self.0.iter().rev().filter(|(known, _)| known == name);
        found.next().map(|(_, value)| value.expose())
    }

    /// `text` with every placeholder replaced.
    pub(super) fn resolve(&self, text: &str, dialect: Dialect) -> Result<SecretString, Unresolved> {
        let mut resolved = Zeroizing::new(String::with_capacity(text.len()));
        let mut rest = text;
        while let Some((before, behind)) = rest.split_once("${") {
            // Without an end it is no placeholder.
            let Some((inside, after)) = behind.split_once('}') else {
                break;
            };
            resolved.push_str(before);
            resolved.push_str(self.value_of(inside, dialect)?);
            rest = after;
        }
        resolved.push_str(rest);
        Ok(SecretString::new(std::mem::take(&mut *resolved)))
    }

    fn value_of<'a>(&'a self, inside: &'a str, dialect: Dialect) -> Result<&'a str, Unresolved> {
        let (names, default) = match dialect {
            Dialect::Tomcat => inside
                .split_once(":-")
                .map_or((inside, None), |(n, d)| (n, Some(d))),
            Dialect::Jgroups => inside
                .split_once(':')
                .map_or((inside, None), |(n, d)| (n, Some(d))),
        };
        let mut found = match dialect {
            Dialect::Tomcat => self.get(names),
            Dialect::Jgroups => names.split(',').find_map(|name| self.get(name.trim())),
        };
        found = found.or(default);
        found.ok_or_else(|| Unresolved(names.to_owned()))
    }
}

impl std::fmt::Display for Unresolved {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "the system property {} is set neither in bin/setenv.sh nor in conf/catalina.properties: write NAME=VALUE \
             into a file and name that with --system-properties FILE",
            self.0
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders_are_replaced_as_tomcat_and_jgroups_do() {
        let mut known = SystemProperties::default();
        known.set("a", "first");
        known.set("a", "1");
        known.set("catalina.base", "/srv/tomcat");
        for (text, dialect, want) in [
            ("plain", Dialect::Tomcat, Ok("plain")),
            (
                "${catalina.base}/conf/${a}.jks",
                Dialect::Tomcat,
                Ok("/srv/tomcat/conf/1.jks"),
            ),
            ("${b:-x:y}", Dialect::Tomcat, Ok("x:y")),
            ("${a:-x}", Dialect::Tomcat, Ok("1")),
            ("${b:x}", Dialect::Tomcat, Err("b:x")),
            ("$a ${a", Dialect::Tomcat, Ok("$a ${a")),
            ("${b}", Dialect::Tomcat, Err("b")),
            ("${b:7800}", Dialect::Jgroups, Ok("7800")),
            ("${a:7800}", Dialect::Jgroups, Ok("1")),
            ("${b, a:7800}", Dialect::Jgroups, Ok("1")),
            (
                "${b:match-interface:eth.*}",
                Dialect::Jgroups,
                Ok("match-interface:eth.*"),
            ),
            ("${b}", Dialect::Jgroups, Err("b")),
        ] {
            let found = known.resolve(text, dialect);
            let found = found.as_ref().map(SecretString::expose);
            let want = want.map_err(|name| Unresolved(name.to_owned()));
            assert_eq!(found, want.as_ref().copied(), "{text}");
        }
    }
}
