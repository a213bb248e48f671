//! `bin/setenv.sh`: the assignments of a shell script, as far as they can be told without running it.
//!
//! Quotes, `$NAME`, `${NAME}`, continued lines and `+=` are followed, and so is the guide's `{JAVA_OPTS}`. Where a
//! shell would be needed there is nothing. Must never be true: anything run; a value in an error; text
//! that grows beyond [`VALUE_BYTES_MAX`] by naming itself. Called by `migrate`.

mod lexer;

use std::collections::HashMap;

use zeroize::Zeroizing;

use lexer::{Lexer, Word};

use crate::secret::SecretString;

/// Bytes of one variable, all that it names put in.
const VALUE_BYTES_MAX: usize = 64 * 1024;
/// Variables whose words go to Java.
const OPTIONS: [&str; 2] = ["JAVA_OPTS", "CATALINA_OPTS"];
/// Words before a command that do not change what an assignment behind them means.
const PREFIXES: [&str; 8] = [
    "export", "readonly", "declare", "-x", "then", "else", "do", "{",
];

/// What the script sets.
#[derive(Debug, Default)]
pub(super) struct Setenv {
    /// Options for Java, in their order.
    pub(super) options: Vec<JavaOption>,
    /// Other variables: name, value, line.
    pub(super) variables: Vec<Variable>,
    /// Lines that are no assignments.
    pub(super) not_followed: Vec<usize>,
}

/// One word for Java. It may hold a password.
#[derive(Debug)]
pub(super) struct JavaOption {
    /// Such as `-Xmx2g`.
    pub(super) word: SecretString,
    /// Where the variable that holds it was last set.
    pub(super) line: usize,
}

/// One variable of the script. It may hold a password.
#[derive(Debug)]
pub(super) struct Variable {
    pub(super) name: String,
    pub(super) value: SecretString,
    pub(super) line: usize,
}

impl JavaOption {
    /// Name and value of `-Dname=value`.
    pub(super) fn property(&self) -> Option<(&str, &str)> {
        let rest = self.word.expose().strip_prefix("-D")?;
        Some(rest.split_once('=').unwrap_or((rest, "")))
    }
}

/// Reads the script. The error names the line.
pub(super) fn parse(text: &str) -> Result<Setenv, String> {
    let mut shell = Shell::default();
    let mut lexer = Lexer::new(text);
    while let Some(command) = lexer.command()? {
        shell.take(&command)?;
    }
    Ok(shell.finish())
}

#[derive(Default)]
struct Shell {
    variables: HashMap<String, (Zeroizing<String>, usize)>,
    order: Vec<String>,
    not_followed: Vec<usize>,
}

impl Shell {
    /// A simple command: assignments, or something else.
    fn take(&mut self, command: &[Word]) -> Result<(), String> {
        let is_prefix = |word: &&Word| PREFIXES.contains(&word.raw());
        let rest: Vec<&Word> = command.iter().skip_while(is_prefix).collect();
        let is_plain = |word: &&Word| word.assignment().is_some();
        if rest.is_empty() || (command.len() > rest.len() && rest.iter().all(|word| word.is_name()))
        {
            return Ok(());
        }
        if !rest.iter().all(is_plain) {
            self.not_followed.extend(command.first().map(Word::line));
            return Ok(());
        }
        for word in rest {
            let Some(assignment) = word.assignment() else {
                continue;
            };
            let mut value = word.value(&assignment, |name| self.get(name));
            if assignment.appends {
                value.insert_str(0, self.get(assignment.name).unwrap_or_default());
            }
            if value.len() > VALUE_BYTES_MAX {
                return Err(format!(
                    "line {}: {} grows beyond {VALUE_BYTES_MAX} bytes",
                    word.line(),
                    assignment.name
                ));
            }
            self.order.retain(|known| known != assignment.name);
            self.order.push(assignment.name.to_owned());
            self.variables
                .insert(assignment.name.to_owned(), (value, word.line()));
        }
        Ok(())
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.variables.get(name).map(|(value, _)| value.as_str())
    }

    fn finish(mut self) -> Setenv {
        let mut all = Setenv {
            not_followed: std::mem::take(&mut self.not_followed),
            ..Setenv::default()
        };
        for name in std::mem::take(&mut self.order) {
            let Some((mut value, line)) = self.variables.remove(&name) else {
                continue;
            };
            if !OPTIONS.contains(&name.as_str()) {
                let value = SecretString::new(std::mem::take(&mut *value));
                all.variables.push(Variable { name, value, line });
                continue;
            }
            // The shell splits what it puts into Java's command line at white space.
            let words = value
                .split_ascii_whitespace()
                .filter(|word| word.starts_with('-'));
            all.options.extend(words.map(|word| JavaOption {
                word: SecretString::new(word.to_owned()),
                line,
            }));
        }
        all
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn options(text: &str) -> Vec<String> {
        let all = parse(text).unwrap();
        all.options
            .iter()
            .map(|option| option.word.expose().to_owned())
            .collect()
    }

    /// Name, script, words for Java.
    type Row = (&'static str, &'static str, &'static [&'static str]);

    const SCRIPTS: &[Row] = &[
        (
            "the guide's, with its braces",
            "JAVA_OPTS=\"{JAVA_OPTS} -Djgroups.tcp.address=kms1.AcmeXYZ.com\"\n",
            &["-Djgroups.tcp.address=kms1.AcmeXYZ.com"],
        ),
        (
            "a comment does not count",
            "#JAVA_OPTS=\"{JAVA_OPTS} -Djgroups.tcp.address=<ipAddress> -Djgroups.tcp.port=<portNum>\"\n  # JAVA_OPTS=-Da=b\n",
            &[],
        ),
        (
            "added",
            "JAVA_OPTS='-Xmx2g'\nexport JAVA_OPTS=\"${JAVA_OPTS} -Da=b\"",
            &["-Xmx2g", "-Da=b"],
        ),
        (
            "added with +=",
            "JAVA_OPTS=-Xmx2g\nJAVA_OPTS+=' -Da=b'; export JAVA_OPTS",
            &["-Xmx2g", "-Da=b"],
        ),
        (
            "replaced",
            "JAVA_OPTS=-Xmx2g\nJAVA_OPTS=-Xmx4g",
            &["-Xmx4g"],
        ),
        (
            "unknown ones are empty",
            "JAVA_OPTS=\"$JAVA_OPTS $OTHER -Da=b\"",
            &["-Da=b"],
        ),
        (
            "by a variable",
            "NODE=kms1\nCATALINA_OPTS=\"-Da=$NODE.x:${NODE}\"",
            &["-Da=kms1.x:kms1"],
        ),
        (
            "a default",
            "JAVA_OPTS=\"-Da=${PORT:-7800}\"",
            &["-Da=7800"],
        ),
        (
            "continued",
            "JAVA_OPTS=\"-Da=b \\\n  -Dc=d\"\nX=\\\n1",
            &["-Da=b", "-Dc=d"],
        ),
        (
            "quotes over lines",
            "JAVA_OPTS=\"-Da=b\n-Dc=d\"",
            &["-Da=b", "-Dc=d"],
        ),
        (
            "quotes in quotes",
            "JAVA_OPTS=-Da='b'\"\\\"c\"\\ ",
            &["-Da=b\"c"],
        ),
        (
            "a sign within a word is no comment",
            "JAVA_OPTS=-Da=b#c # -Dx=y",
            &["-Da=b#c"],
        ),
        (
            "what a shell would run is not told",
            "JAVA_OPTS=\"-Da=$(hostname -f) -Db=`id -u`\"",
            &["-Da=", "-Db="],
        ),
        (
            "Windows line ends",
            "JAVA_OPTS=-Da=b\r\nJAVA_HOME=/x\r\n",
            &["-Da=b"],
        ),
    ];

    #[test]
    fn options_are_what_java_would_get() {
        for (name, text, want) in SCRIPTS {
            assert_eq!(options(text), *want, "{name}");
        }
    }

    #[test]
    fn other_variables_and_other_commands_are_told() {
        let text = "#!/bin/sh\nJAVA_HOME=\"/usr/lib/jvm/jre\"\nulimit -n 1000\nif [ -f /etc/x ]; then\n  . /etc/x\n  A=1\nfi\n";
        let all = parse(text).unwrap();
        let found: Vec<_> = all
            .variables
            .iter()
            .map(|one| (&*one.name, one.value.expose(), one.line))
            .collect();
        assert_eq!(found, [("JAVA_HOME", "/usr/lib/jvm/jre", 2), ("A", "1", 6)]);
        assert_eq!(all.not_followed, [3, 4, 5, 7]);
        let property = |text| {
            parse(text).unwrap().options[0]
                .property()
                .map(|(n, v)| (n.to_owned(), v.to_owned()))
        };
        assert_eq!(
            property("JAVA_OPTS=-Da.b=c=d"),
            Some(("a.b".into(), "c=d".into()))
        );
        assert_eq!(property("JAVA_OPTS=-Xmx1g"), None);
    }

    #[test]
    fn any_text_comes_to_an_end() {
        proptest::proptest!(|(text in "[AB$\"'{}()`\\\\\n =+:;#-]{0,60}")| {
            if let Ok(all) = parse(&text) {
                let longest = all.variables.iter().map(|one| one.value.len()).max();
                assert!(longest.unwrap_or(0) <= VALUE_BYTES_MAX);
            }
        });
    }

    #[test]
    fn what_does_not_end_or_grows_is_refused() {
        let mut doubling = "A=0123456789abcdef\n".to_owned();
        doubling.push_str(&"A=$A$A\n".repeat(40));
        for (name, text, want) in [
            ("a quote", "A=1\nB='x", "line 2: a quote"),
            ("a double quote", "\n\nB=\"x", "line 3: a quote"),
            ("growth", &*doubling, "grows beyond 65536"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.contains(want), "{name}: {error}");
        }
    }
}
