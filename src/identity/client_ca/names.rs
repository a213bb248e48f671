//! The names in a certificate, and whether a role's globs fit them.

use std::fmt;

use super::Rule;
use crate::config::{SanGlob, SubjectGlob};
use crate::identity::glob;
use crate::keystore::{CertificateFacts, SubjectAltName};

/// What of a certificate decides its role.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Names {
    /// Type and value of each attribute of the subject.
    attributes: Vec<(String, String)>,
    sans: Vec<SubjectAltName>,
}

impl Names {
    pub(super) fn of(facts: &CertificateFacts) -> Self {
        Self {
            attributes: facts.attributes.clone(),
            sans: facts.sans.clone(),
        }
    }

    pub(super) fn bytes(&self) -> usize {
        let san = |san: &SubjectAltName| match san {
            SubjectAltName::Dns(name) | SubjectAltName::Email(name) | SubjectAltName::Uri(name) => {
                name.len()
            }
            SubjectAltName::Ip(_) => 16,
        };
        self.sans.iter().map(san).sum()
    }

    /// Where a rule has both kinds of globs, both must fit.
    pub(super) fn fit(&self, rule: &Rule) -> bool {
        let subjects = rule.subjects.iter();
        let sans = rule.sans.iter();
        (rule.subjects.is_empty() || subjects.into_iter().any(|glob| self.fit_subject(glob)))
            && (rule.sans.is_empty() || sans.into_iter().any(|glob| self.fit_san(glob)))
    }

    fn fit_subject(&self, wanted: &SubjectGlob) -> bool {
        wanted.attributes.iter().all(|(kind, glob)| {
            let held = self.attributes.iter();
            held.into_iter()
                .any(|(held, value)| held == kind && glob::matches(glob, value))
        })
    }

    fn fit_san(&self, wanted: &SanGlob) -> bool {
        if *wanted == SanGlob::Any {
            return true;
        }
        self.sans.iter().any(|san| match (wanted, san) {
            (SanGlob::Dns(glob), SubjectAltName::Dns(name)) => {
                glob::matches(glob, &name.to_lowercase())
            }
            (SanGlob::Uri(glob), SubjectAltName::Uri(name))
            | (SanGlob::Email(glob), SubjectAltName::Email(name)) => glob::matches(glob, name),
            (SanGlob::Ip(glob), SubjectAltName::Ip(address)) => {
                glob::matches(glob, &address.to_string())
            }
            _ => false,
        })
    }
}

/// The alternative names, as openssl writes them; control characters as `?`.
impl fmt::Display for Names {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.sans.is_empty() {
            return f.write_str("none");
        }
        for (index, san) in self.sans.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            let (kind, name) = match san {
                SubjectAltName::Dns(name) => ("DNS", name.clone()),
                SubjectAltName::Uri(name) => ("URI", name.clone()),
                SubjectAltName::Email(name) => ("email", name.clone()),
                SubjectAltName::Ip(address) => ("IP", address.to_string()),
            };
            let name = name.replace(char::is_control, "?");
            write!(f, "{comma}{kind}:{name}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::identity::{Operations, Role};

    fn attributes(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        let pair = |(kind, text): &(&str, &str)| ((*kind).to_owned(), (*text).to_owned());
        pairs.iter().map(pair).collect()
    }

    fn fits(subjects: &[&[(&str, &str)]], sans: &[SanGlob], names: &Names) -> bool {
        let subject = |pairs: &&[(&str, &str)]| SubjectGlob {
            attributes: attributes(pairs),
        };
        names.fit(&Rule {
            role: Arc::new(Role {
                name: String::new(),
                operations: Operations::NONE,
                keys: Vec::new(),
            }),
            authorities: Vec::new(),
            subjects: subjects.iter().map(subject).collect(),
            sans: sans.to_vec(),
        })
    }

    #[test]
    fn subjects_fit_attribute_by_attribute() {
        let device = Names {
            attributes: attributes(&[("C", "DE"), ("O", "Example"), ("CN", "device-1")]),
            sans: Vec::new(),
        };
        // Its O is another; its common name only looks as if.
        let impostor = Names {
            attributes: attributes(&[("O", "Other"), ("CN", "device-1,O=Example")]),
            sans: Vec::new(),
        };
        for (name, globs, want_device, want_impostor) in [
            ("any", &[&[][..]][..], true, true),
            ("common name", &[&[("CN", "device-*")]], true, true),
            (
                "and organisation",
                &[&[("CN", "device-*"), ("O", "Example")]],
                true,
                false,
            ),
            (
                "order does not matter",
                &[&[("O", "Example"), ("C", "DE")]],
                true,
                false,
            ),
            ("case does", &[&[("CN", "Device-*")]], false, false),
            ("another attribute", &[&[("OU", "*")]], false, false),
            (
                "one of several",
                &[&[("CN", "x")], &[("O", "Other")]],
                false,
                true,
            ),
            ("not in part", &[&[("CN", "device")]], false, false),
        ] {
            assert_eq!(fits(globs, &[], &device), want_device, "{name}");
            assert_eq!(
                fits(globs, &[], &impostor),
                want_impostor,
                "{name}, impostor"
            );
        }
    }

    #[test]
    fn alternative_names_fit_kind_by_kind() {
        let names = Names {
            attributes: attributes(&[("CN", "x")]),
            sans: vec![
                SubjectAltName::Dns("Device-1.Example.com".to_owned()),
                SubjectAltName::Uri("spiffe://Site/device".to_owned()),
                SubjectAltName::Email("10.0.0.9".to_owned()),
                SubjectAltName::Ip([10, 0, 0, 1].into()),
            ],
        };
        let none = Names {
            sans: Vec::new(),
            ..names.clone()
        };
        let dns = |glob: &str| SanGlob::Dns(glob.to_owned());
        let ip = |glob: &str| SanGlob::Ip(glob.to_owned());
        let uri = |glob: &str| SanGlob::Uri(glob.to_owned());
        let email = |glob: &str| SanGlob::Email(glob.to_owned());
        for (name, globs, want) in [
            ("host, case apart", vec![dns("device-*.example.com")], true),
            ("another host", vec![dns("backend-*")], false),
            ("an address is no host", vec![dns("10.0.0.1")], false),
            ("address", vec![ip("10.0.*")], true),
            ("nor an e-mail an address", vec![ip("10.0.0.9")], false),
            ("e-mail", vec![email("10.0.0.9")], true),
            ("URI", vec![uri("spiffe://Site/*")], true),
            ("URI, another case", vec![uri("spiffe://site/*")], false),
            ("one of several", vec![dns("no"), ip("10.0.0.1")], true),
        ] {
            assert_eq!(fits(&[], &globs, &names), want, "{name}");
            assert!(!fits(&[], &globs, &none), "{name}, without names");
        }
        assert!(fits(&[], &[SanGlob::Any], &none));
        let (right, wrong) = ([("CN", "x")], [("CN", "y")]);
        for (name, subject, host, want) in [
            ("both", &right, "device-*", true),
            ("subject alone", &right, "backend-*", false),
            ("name alone", &wrong, "device-*", false),
        ] {
            assert_eq!(fits(&[subject], &[dns(host)], &names), want, "{name}");
        }
        assert_eq!(
            names.to_string(),
            "DNS:Device-1.Example.com,URI:spiffe://Site/device,email:10.0.0.9,IP:10.0.0.1"
        );
    }
}
