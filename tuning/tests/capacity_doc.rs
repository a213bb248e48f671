//! docs/capacity.md shows what the program prints: each marked block and each chart is made again and compared.
//! `UPDATE_DOC=1` writes them instead.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use std::fs;
use std::path::{Path, PathBuf};

use kms_tune::input::Source;
use kms_tune::output::{files, html, table};
use kms_tune::plan::Plan;
use kms_tune::trace::{explain, find};

const DEPTH: usize = 2;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap()
        .to_owned()
}

/// What belongs into a block: `file: PATH`, `plan: HEADING`, `explain: NAME`, `out: FILE`.
fn block(order: &str, plan: &Plan, whole: &str) -> String {
    let (kind, what) = order.split_once(": ").unwrap();
    let text = match kind {
        "file" => fs::read_to_string(root().join(what)).unwrap(),
        "plan" => {
            let from = whole.find(&format!("\n{what}")).expect(what) + 1;
            let rest = &whole[from..];
            rest[..rest.find("\n\n").unwrap_or(rest.len())].to_owned()
        }
        "explain" => explain(&find(&plan.quantities(), what).expect(what), DEPTH),
        "out" => {
            let all = files::all(plan);
            all.into_iter()
                .find(|file| file.name == what)
                .expect(what)
                .text
        }
        _ => panic!("{order}"),
    };
    let lines: Vec<&str> = text.lines().map(str::trim_end).collect();
    lines.join("\n").trim_end().to_owned() + "\n"
}

/// The document with every marked block made anew.
fn made_anew(document: &str, plan: &Plan) -> (String, usize) {
    let whole = table::text(plan);
    let (mut out, mut rest, mut count) = (String::new(), document, 0);
    while let Some(at) = rest.find("<!-- ") {
        let end = at + rest[at..].find(" -->\n").expect("a marker ends");
        let order = &rest[at + 5..end];
        let after = end + " -->\n".len();
        out += &rest[..after];
        rest = &rest[after..];
        let is_block = ["file: ", "plan: ", "explain: ", "out: "]
            .iter()
            .any(|kind| order.starts_with(kind));
        if !is_block {
            continue;
        }
        let fence = rest.find('\n').unwrap() + 1;
        assert!(rest.starts_with("```"), "a block behind {order}");
        let close = fence + rest[fence..].find("```\n").expect("a block ends");
        out += &rest[..fence];
        out += &block(order, plan, &whole);
        rest = &rest[close..];
        count += 1;
    }
    (out + rest, count)
}

#[test]
fn the_document_shows_what_the_program_prints() {
    let root = root();
    // As an operator calls it, in the folder of the file.
    let site = fs::read_to_string(root.join("tuning/sites/restore.toml")).unwrap();
    let source = Source::parse(Path::new("restore.toml"), &site).unwrap();
    let plan = Plan::of(&source).unwrap();
    assert!(plan.holds(), "the example keeps its objectives");
    let path = root.join("docs/capacity.md");
    let document = fs::read_to_string(&path).unwrap();
    let (made, blocks) = made_anew(&document, &plan);
    assert!(blocks >= 9, "{blocks} blocks");
    let updates = std::env::var_os("UPDATE_DOC").is_some();
    let mut stale = Vec::new();
    let mut compare = |path: &Path, made: &str| {
        if updates {
            fs::write(path, made).unwrap();
        } else if fs::read_to_string(path).unwrap_or_default() != made {
            stale.push(path.display().to_string());
        }
    };
    compare(&path, &made);
    for (name, svg) in html::charts(&plan, &source) {
        let file = format!("docs/capacity/{name}.svg");
        assert!(
            document.contains(&format!("(capacity/{name}.svg)")),
            "{file} is shown"
        );
        assert!(
            svg.contains("http://www.w3.org/2000/svg"),
            "{file} stands alone"
        );
        compare(&root.join(file), &svg);
    }
    assert!(
        stale.is_empty(),
        "{stale:?} are not what the program makes: UPDATE_DOC=1 cargo nextest run -p kms-tune --test capacity_doc"
    );
}
