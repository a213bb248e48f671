//! `*` over key names and aliases. Every other character stands for itself.

/// Whether `text` matches `glob`, in time linear in both: no pattern of an operator's can be slow.
pub fn matches(glob: &str, text: &str) -> bool {
    let Some((prefix, rest)) = glob.split_once('*') else {
        return glob == text;
    };
    let Some(mut text) = text.strip_prefix(prefix) else {
        return false;
    };
    // The first place of each middle piece is as good as any later one, so nothing is tried twice.
    let (middle, suffix) = rest.rsplit_once('*').unwrap_or(("", rest));
    for piece in middle.split('*') {
        let Some(at) = text.find(piece) else {
            return false;
        };
        text = text.get(at + piece.len()..).unwrap_or_default();
    }
    text.ends_with(suffix)
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn the_star_stands_for_any_run() {
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
            ("?", "a", false),
            ("?", "?", true),
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
                Some((byte, rest)) => text.first() == Some(byte) && slow(rest, &text[1..]),
            }
        }
        proptest::proptest!(|(glob in "[ab*]{0,7}", text in "[ab]{0,9}")| {
            proptest::prop_assert_eq!(matches(&glob, &text), slow(glob.as_bytes(), text.as_bytes()));
        });
    }
}
