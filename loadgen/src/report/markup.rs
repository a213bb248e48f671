//! HTML and SVG as a tree. Names are literals and every text is escaped when it is written, so nothing that a
//! server, a file or a user says can become markup.

use std::fmt::{Display, Write};

/// One element. What it may hold beside others is text, which is escaped.
#[derive(Clone, Debug)]
pub(super) struct Element {
    name: &'static str,
    attributes: Vec<(&'static str, String)>,
    children: Vec<Node>,
}

#[derive(Clone, Debug)]
enum Node {
    Element(Element),
    Text(String),
    /// Of this program, such as its style sheet.
    Literal(&'static str),
}

/// A new element.
pub(super) fn el(name: &'static str) -> Element {
    Element {
        name,
        attributes: Vec::new(),
        children: Vec::new(),
    }
}

impl Element {
    pub(super) fn attr(mut self, name: &'static str, value: impl Display) -> Self {
        self.attributes.push((name, value.to_string()));
        self
    }

    pub(super) fn class(self, value: impl Display) -> Self {
        self.attr("class", value)
    }

    /// A coordinate or length, to a hundredth.
    pub(super) fn num(self, name: &'static str, value: f64) -> Self {
        self.attr(name, Coordinate(value))
    }

    pub(super) fn text(mut self, text: impl Into<String>) -> Self {
        self.children.push(Node::Text(text.into()));
        self
    }

    pub(super) fn literal(mut self, text: &'static str) -> Self {
        self.children.push(Node::Literal(text));
        self
    }

    pub(super) fn child(mut self, child: Element) -> Self {
        self.children.push(Node::Element(child));
        self
    }

    pub(super) fn children(mut self, children: impl IntoIterator<Item = Element>) -> Self {
        self.children
            .extend(children.into_iter().map(Node::Element));
        self
    }

    /// Writes it and all it holds.
    pub(super) fn write(&self, out: &mut String) {
        out.push('<');
        out.push_str(self.name);
        for (name, value) in &self.attributes {
            out.push(' ');
            out.push_str(name);
            out.push_str("=\"");
            escape(value, out);
            out.push('"');
        }
        out.push('>');
        if is_void(self.name) {
            return;
        }
        for child in &self.children {
            match child {
                Node::Element(element) => element.write(out),
                Node::Text(text) => escape(text, out),
                Node::Literal(text) => out.push_str(text),
            }
        }
        out.push_str("</");
        out.push_str(self.name);
        out.push('>');
        if is_block(self.name) {
            out.push('\n');
        }
    }
}

fn is_void(name: &str) -> bool {
    matches!(name, "meta" | "br" | "hr" | "col")
}

/// A line break after these changes nothing that is shown, and lets people read the source.
fn is_block(name: &str) -> bool {
    matches!(
        name,
        "div"
            | "section"
            | "figure"
            | "table"
            | "tr"
            | "p"
            | "h1"
            | "h2"
            | "svg"
            | "g"
            | "head"
            | "style"
            | "li"
    )
}

/// The five characters that mean something, and what no document may hold: control characters, and marks
/// that turn the direction of what follows.
fn escape(text: &str, out: &mut String) {
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            '\n' | '\t' => out.push(character),
            '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => out.push('\u{fffd}'),
            other if other.is_control() => out.push('\u{fffd}'),
            other => out.push(other),
        }
    }
}

/// Shortest text of a number to a hundredth; what is not finite is 0, for it would spoil a path.
pub(super) struct Coordinate(pub(super) f64);

impl Display for Coordinate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let value = if self.0.is_finite() {
            (self.0 * 100.0).round() / 100.0
        } else {
            0.0
        };
        // Not "-0".
        let value = if value == 0.0 { 0.0 } else { value };
        write!(f, "{value}")
    }
}

/// The `d` of a path through points; a point that is none begins a new line.
pub(super) fn path(points: &[Option<(f64, f64)>]) -> String {
    let mut text = String::new();
    let mut is_drawing = false;
    for point in points {
        let Some((x, y)) = point else {
            is_drawing = false;
            continue;
        };
        let command = if is_drawing { 'L' } else { 'M' };
        // Writing to a String cannot fail.
        let _ = write!(text, "{command}{} {}", Coordinate(*x), Coordinate(*y));
        is_drawing = true;
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(element: &Element) -> String {
        let mut text = String::new();
        element.write(&mut text);
        text
    }

    #[test]
    fn texts_cannot_become_markup() {
        for (name, text, want) in [
            ("plain", "p99 µs", "p99 µs"),
            ("a tag", "</td><script>", "&lt;/td&gt;&lt;script&gt;"),
            ("quotes", "\"'", "&quot;&#39;"),
            ("an entity", "&lt;", "&amp;lt;"),
            (
                "control characters",
                "a\u{0}\u{1b}[31m\r",
                "a\u{fffd}\u{fffd}[31m\u{fffd}",
            ),
            ("turned around", "a\u{202e}b", "a\u{fffd}b"),
        ] {
            assert_eq!(
                written(&el("b").text(text)),
                format!("<b>{want}</b>"),
                "{name}"
            );
            assert_eq!(
                written(&el("b").attr("title", text)),
                format!("<b title=\"{want}\"></b>"),
                "{name}"
            );
        }
    }

    #[test]
    fn numbers_are_short_and_finite() {
        for (value, want) in [
            (1.0, "1"),
            (0.125, "0.13"),
            (-0.001, "0"),
            (f64::NAN, "0"),
            (f64::INFINITY, "0"),
        ] {
            assert_eq!(Coordinate(value).to_string(), want);
        }
        assert_eq!(
            path(&[Some((0.0, 1.0)), Some((2.0, 3.0)), None, Some((4.0, 5.0))]),
            "M0 1L2 3M4 5"
        );
    }
}
