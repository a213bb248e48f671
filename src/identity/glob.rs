//! `*` and `?` over key names, aliases and names in certificates. Every other character stands for itself.

/// Whether `text` matches `glob`: `*` is any run of characters, `?` any one. Takes at most the product of both lengths.
pub fn matches(glob: &str, text: &str) -> bool {
    let Some((prefix, rest)) = glob.split_once('*') else {
        return begins(glob, text) == Some("");
    };
    let Some(mut text) = begins(prefix, text) else {
        return false;
    };
    // The first place of each middle piece is as good as any later one, so nothing is tried twice.
    let (middle, suffix) = rest.rsplit_once('*').unwrap_or(("", rest));
    for piece in middle.split('*') {
        let Some(behind) = find(piece, text) else {
            return false;
        };
        text = behind;
    }
    // `*` at the end is the usual case, on the way of each request.
    if suffix.is_empty() {
        return true;
    }
    // Characters, for `?` stands for one whatever its bytes.
    let spare = text.chars().count().checked_sub(suffix.chars().count());
    spare.is_some_and(|spare| begins(suffix, skip(text, spare)) == Some(""))
}

/// What of `text` is behind `piece`, which has no `*`, at its front.
fn begins<'a>(piece: &str, text: &'a str) -> Option<&'a str> {
    let mut rest = text.chars();
    for wanted in piece.chars() {
        let got = rest.next()?;
        if wanted != '?' && wanted != got {
            return None;
        }
    }
    Some(rest.as_str())
}

/// What of `text` is behind the first `piece` in it.
fn find<'a>(piece: &str, mut text: &'a str) -> Option<&'a str> {
    loop {
        if let Some(behind) = begins(piece, text) {
            return Some(behind);
        }
        if text.is_empty() {
            return None;
        }
        text = skip(text, 1);
    }
}

/// `text` without its first `count` characters.
fn skip(text: &str, count: usize) -> &str {
    let mut rest = text.chars();
    for _ in 0..count {
        rest.next();
    }
    rest.as_str()
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn the_star_stands_for_any_run_and_the_question_mark_for_one() {
        for (glob, text, want) in [
            ("", "", true),
            ("", "a", false),
            ("a", "a", true),
            ("a", "A", false),
            ("a", "ab", false),
            ("*", "", true),
            ("*", "anything/at all", true),
            ("**", "x", true),
            ("cmx*", "cmx", true),
            ("cmx*", "cmxDevice", true),
            ("cmx*", "acmx", false),
            ("*-prod", "eu-prod", true),
            ("*-prod", "eu-prod2", false),
            ("a*b", "ab", true),
            ("a*b", "a*b", true),
            ("a*a", "a", false),
            ("ab*ba", "aba", false),
            ("ab*ba", "abba", true),
            ("a*b*c", "abbc", true),
            ("a*b*c", "acb", false),
            ("*b*b*", "b", false),
            ("*b*b*", "xbyb", true),
            ("*ab*ab", "abab", true),
            ("*ab*ab", "aab", false),
            ("?", "a", true),
            ("?", "?", true),
            ("?", "", false),
            ("?", "ab", false),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("?*", "", false),
            ("*?", "ü", true),
            ("*??", "ü", false),
            ("a*?z", "az", false),
            ("a*?z", "abz", true),
            ("*?b*", "b", false),
            ("*?b*", "bb", true),
            ("device-??", "device-07", true),
            ("device-??", "device-007", false),
            ("schlüssel*", "schlüsselÄ", true),
            ("*ü*", "schlüssel", true),
            ("[ab]", "a", false),
        ] {
            assert_eq!(matches(glob, text), want, "{glob:?} over {text:?}");
        }
    }

    #[test]
    fn agrees_with_a_definition_by_recursion() {
        fn slow(glob: &[u8], text: &[u8]) -> bool {
            match glob.split_first() {
                None => text.is_empty(),
                Some((b'*', rest)) => (0..=text.len()).any(|skipped| slow(rest, &text[skipped..])),
                Some((b'?', rest)) => !text.is_empty() && slow(rest, &text[1..]),
                Some((byte, rest)) => text.first() == Some(byte) && slow(rest, &text[1..]),
            }
        }
        proptest::proptest!(|(glob in "[ab*?]{0,7}", text in "[ab]{0,9}")| {
            proptest::prop_assert_eq!(matches(&glob, &text), slow(glob.as_bytes(), text.as_bytes()));
        });
    }
}
