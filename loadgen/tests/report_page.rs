//! The report in a real browser: plots are there in their colours, on a wide page and a phone, light and dark;
//! nothing runs, nothing is fetched, nothing that a peer said is markup.
//!
//! Needs chromium: `./test install` installs it; without it the tests fail and say so. With
//! `KMS_TEST_PICTURES=FOLDER` the pictures are kept.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::assigning_clones,
    missing_docs
)]

mod results_support;

use std::path::PathBuf;

use kms_loadgen::report::html;
use kms_loadgen::results::RunResult;
use kms_loadgen::results::compare::{Options, compare};
use results_support::browser::{Scheme, document, picture};
use results_support::{
    Recipe, day, hostile, huge, knee, nothing, one_answer, only_errors, restore_storm, stall,
    steady,
};

fn written(folder: &tempfile::TempDir, name: &str, page: &str) -> PathBuf {
    let file = folder.path().join(format!("{name}.html"));
    std::fs::write(&file, page).unwrap();
    file
}

/// The hexadecimal colour that the style sheet gives a name, for light (its first mention) or dark.
fn colour(page: &str, name: &str, scheme: Scheme) -> [u8; 3] {
    let mark = format!("--{name}: #");
    let mut found = page
        .match_indices(&mark)
        .map(|(at, _)| &page[at + mark.len()..at + mark.len() + 6]);
    let text = found.nth(usize::from(scheme == Scheme::Dark)).unwrap();
    [0, 2, 4].map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap())
}

/// Each plot and the colours that it must show.
const PLOTS: [(&str, &[&str]); 11] = [
    ("percentiles", &["blue", "amber", "slo"]),
    ("latency", &["green", "blue", "vermillion", "grey"]),
    ("rate", &["blue", "vermillion"]),
    ("errors", &["vermillion", "amber"]),
    ("sources", &["amber", "sky", "green"]),
    ("cpu", &["blue", "purple"]),
    ("handshake-rate", &["purple"]),
    ("batches", &["purple"]),
    ("operations", &["blue", "vermillion"]),
    ("handshakes", &["purple", "green"]),
    ("lag", &["grey"]),
];
const SLICE: usize = 420;

/// Nothing but the plots, each in a slice of its own: no legend lends them its colours.
fn only_plots(page: &str) -> String {
    let style = format!(
        "main>*:not(.charts),figure>*:not(.plot){{display:none!important}} \
         main{{padding:0!important}} .charts{{display:block!important;margin:0!important}} \
         figure{{height:{SLICE}px;overflow:hidden;margin:0!important;padding:0!important;border:0!important}} \
         .plot{{max-height:{SLICE}px}}</style>"
    );
    page.replacen("</style>", &style, 1)
}

#[test]
fn every_plot_shows_its_colours() {
    let mut run = Recipe {
        stall: Some((24.0, 2.0)),
        handshakes_per_s: 40,
        ..Recipe::default()
    }
    .make();
    run.about.name = Some("plots".to_owned());
    let page = html::run(&run);
    let ids: Vec<&str> = page
        .split("<figure class=\"chart ")
        .skip(1)
        .map(|rest| {
            rest.split("id=\"")
                .nth(1)
                .unwrap()
                .split('"')
                .next()
                .unwrap()
        })
        .collect();
    assert_eq!(ids, PLOTS.map(|(id, _)| id), "plots in their order");
    let folder = tempfile::tempdir().unwrap();
    let file = written(&folder, "plots", &only_plots(&page));
    for (width, scheme) in [
        (1000, Scheme::Light),
        (1000, Scheme::Dark),
        (390, Scheme::Light),
        (390, Scheme::Dark),
    ] {
        let picture = picture(&file, width, (SLICE * PLOTS.len()) as u32, scheme);
        assert_eq!(
            (picture.width, picture.height),
            (width as usize, SLICE * PLOTS.len())
        );
        let ground = colour(&page, "ground", scheme);
        for (at, (id, colours)) in PLOTS.iter().enumerate() {
            let slice = at * SLICE..(at + 1) * SLICE;
            assert!(
                picture.count(slice.clone(), ground) > 5_000,
                "{id} at {width}, {scheme:?}: no ground"
            );
            for name in *colours {
                let pixels = picture.count(slice.clone(), colour(&page, name, scheme));
                assert!(
                    pixels >= 20,
                    "{id} at {width}, {scheme:?}: {pixels} pixels of {name}"
                );
            }
        }
    }
}

#[test]
fn the_knee_and_comparisons_show_theirs() {
    let folder = tempfile::tempdir().unwrap();
    let (a, b) = (
        steady(),
        Recipe {
            seed: 9,
            slower: 1.3,
            ..Recipe::default()
        }
        .make(),
    );
    let compared = compare(
        &a,
        &b,
        Options {
            tolerance: 0.05,
            is_forced: false,
        },
    )
    .unwrap();
    let runs = [("A".to_owned(), &a), ("B".to_owned(), &b)];
    let cases: [(&str, String, &[&[&str]]); 2] = [
        (
            "knee",
            html::run(&knee()),
            &[&["green", "vermillion", "amber", "grey", "slo"]],
        ),
        (
            "comparison",
            html::comparison(&runs, Some(&compared)),
            &[
                &["vermillion", "blue"],
                &["blue", "vermillion"],
                &["blue", "vermillion"],
                &["blue", "vermillion"],
            ],
        ),
    ];
    for (name, page, slices) in cases {
        let file = written(&folder, name, &only_plots(&page));
        for (width, scheme) in [(1000, Scheme::Light), (390, Scheme::Dark)] {
            let picture = picture(&file, width, (SLICE * slices.len()) as u32, scheme);
            for (at, colours) in slices.iter().enumerate() {
                for colour_name in *colours {
                    let pixels = picture.count(
                        at * SLICE..(at + 1) * SLICE,
                        colour(&page, colour_name, scheme),
                    );
                    assert!(
                        pixels >= 20,
                        "{name}, plot {at} at {width}: {pixels} pixels of {colour_name}"
                    );
                }
            }
        }
    }
}

fn everything() -> Vec<(&'static str, String)> {
    let (a, b) = (steady(), hostile());
    let runs: [(String, &RunResult); 2] = [
        (results_support::HOSTILE.to_owned(), &a),
        ("b".to_owned(), &b),
    ];
    let forced = Options {
        tolerance: 0.05,
        is_forced: true,
    };
    vec![
        ("steady", html::run(&a)),
        ("stall", html::run(&stall())),
        ("storm", html::run(&restore_storm())),
        ("knee", html::run(&knee())),
        ("nothing", html::run(&nothing())),
        ("one answer", html::run(&one_answer())),
        ("only errors", html::run(&only_errors())),
        ("huge", html::run(&huge())),
        ("hostile", html::run(&b)),
        ("several", html::comparison(&runs, None)),
        (
            "compared",
            html::comparison(&runs, Some(&compare(&a, &b, forced).unwrap())),
        ),
        ("no runs", html::comparison(&[], None)),
    ]
}

#[test]
fn pages_fetch_nothing_and_run_nothing() {
    for (name, page) in everything() {
        let policy =
            "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src &#39;none&#39;;";
        assert!(page.contains(policy), "{name}");
        let lower = page.to_lowercase();
        for forbidden in [
            "<script", "<img", "<iframe", "<link", "<object", "http://", "https://", "url(",
            "@import", "src=\"", "href=\"", " on",
        ] {
            let found = lower
                .match_indices(forbidden)
                .find(|(at, _)| forbidden != " on" || is_handler(&lower[*at..]));
            assert!(found.is_none(), "{name} has {forbidden} at {found:?}");
        }
        assert!(!page.contains("NaN") && !page.contains("inf\""), "{name}");
    }
}

/// ` onload="` in a tag; ` on ` in a sentence is none.
fn is_handler(text: &str) -> bool {
    let word: String = text[3..]
        .chars()
        .take_while(char::is_ascii_alphabetic)
        .collect();
    text[3 + word.len()..].starts_with("=\"")
}

#[test]
fn what_peers_say_stays_text_in_a_browser() {
    let folder = tempfile::tempdir().unwrap();
    let page = html::run(&hostile());
    let seen = document(&written(&folder, "hostile", &page), 1000);
    assert!(
        !seen.contains("<script") && !seen.contains("<img"),
        "an injected element lives"
    );
    let times = seen
        .matches("&lt;script&gt;alert(1)&lt;/script&gt;")
        .count();
    assert!(times >= 20, "{times} texts of it");
    assert!(seen.trim_end().ends_with("</html>") && seen.matches("<figure").count() >= 8);
    // Even if one came through, the policy would hold.
    let script = "<script>document.title = 'it ran'</script></main>";
    let spoiled = page.replacen("</main>", script, 1);
    assert!(!document(&written(&folder, "spoiled", &spoiled), 1000).contains("it ran</title>"));
}

#[test]
fn pages_fit_their_window() {
    let folder = tempfile::tempdir().unwrap();
    let pages = everything();
    // In frames of that width, since no window is so narrow. The script is the test's; the pages run none.
    let mut outer = "<title></title>".to_owned();
    for (_, page) in &pages {
        let inner = page.replace('&', "&amp;").replace('"', "&quot;");
        for width in [390, 900] {
            let start =
                format!("<iframe width=\"{width}\" height=\"900\" style=\"border:0\" srcdoc=\"");
            outer = outer + &start + &inner + "\"></iframe>";
        }
    }
    outer += "<script>onload = () => { document.title = [...document.querySelectorAll('iframe')]\
              .map(f => f.contentDocument.documentElement.scrollWidth) }</script>";
    let seen = document(&written(&folder, "frames", &outer), 1400);
    let title = seen
        .split("<title>")
        .nth(1)
        .unwrap()
        .split('<')
        .next()
        .unwrap();
    let widths: Vec<&str> = title.split(',').collect();
    assert_eq!(widths.len(), 2 * pages.len(), "{title}");
    for ((name, _), widths) in pages.iter().zip(widths.chunks(2)) {
        assert_eq!(
            widths,
            ["390", "900"],
            "{name}: widths that it takes in windows of 390 and 900"
        );
    }
}

#[test]
fn a_day_makes_no_larger_page_than_a_minute() {
    let (minute, day) = (html::run(&steady()).len(), html::run(&day()).len());
    assert!(day < 900_000, "{day} bytes");
    assert!(minute < 400_000, "{minute} bytes");
}
