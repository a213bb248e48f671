//! Chromium without a window: pictures and the document as it sees them.

use std::io::Read;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use flate2::read::ZlibDecoder;

/// A busy machine takes long to start a browser.
const PATIENCE: Duration = Duration::from_mins(2);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    Light,
    Dark,
}

/// Runs Chromium with a profile of its own and gives what it printed.
fn chromium(file: &Path, options: &[String]) -> String {
    let profile = tempfile::tempdir().unwrap();
    let mut command = Command::new("chromium");
    command.args([
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-quic",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--hide-scrollbars",
    ]);
    command
        .arg(format!("--user-data-dir={}", profile.path().display()))
        .args(options);
    command.arg(format!("file://{}", file.display()));
    let child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let child = child.expect("no chromium: run ./test install");
    let pid = child.id();
    let (done, told) = mpsc::channel();
    std::thread::spawn(move || done.send(child.wait_with_output()));
    let Ok(output) = told.recv_timeout(PATIENCE) else {
        let _ = Command::new("kill").args(["-9", &pid.to_string()]).status();
        panic!("chromium did not end in {PATIENCE:?}");
    };
    let output = output.unwrap();
    let wrong = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{wrong}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// The document after the browser has read it.
pub fn document(file: &Path, width: u32) -> String {
    chromium(
        file,
        &[
            "--dump-dom".to_owned(),
            format!("--window-size={width},900"),
        ],
    )
}

/// What the page looks like.
pub fn picture(file: &Path, width: u32, height: u32, scheme: Scheme) -> Picture {
    let folder = tempfile::tempdir().unwrap();
    let shot = folder.path().join("shot.png");
    let mut options = vec![
        format!("--window-size={width},{height}"),
        format!("--screenshot={}", shot.display()),
    ];
    if scheme == Scheme::Dark {
        options.push("--blink-settings=preferredColorScheme=0".to_owned());
    }
    chromium(file, &options);
    let bytes = std::fs::read(&shot).expect("chromium made no screenshot");
    // Kept for people to look at.
    if let Some(place) = std::env::var_os("KMS_TEST_PICTURES") {
        let name = file.file_stem().unwrap().to_string_lossy().into_owned();
        let name = format!("{name}-{width}-{scheme:?}.png");
        std::fs::write(Path::new(&place).join(name), &bytes).unwrap();
    }
    Picture::decode(&bytes)
}

/// Rows of red, green and blue.
pub struct Picture {
    pub width: usize,
    pub height: usize,
    rows: Vec<Vec<[u8; 3]>>,
}

impl Picture {
    /// Pixels of these rows that have this colour, give or take what smoothing does.
    pub fn count(&self, rows: std::ops::Range<usize>, [red, green, blue]: [u8; 3]) -> usize {
        let near = |got: u8, want: u8| got.abs_diff(want) <= 24;
        let is =
            |pixel: &&[u8; 3]| near(pixel[0], red) && near(pixel[1], green) && near(pixel[2], blue);
        self.rows[rows.start..rows.end.min(self.height)]
            .iter()
            .flatten()
            .filter(is)
            .count()
    }

    pub fn pixel(&self, x: usize, y: usize) -> [u8; 3] {
        self.rows[y][x]
    }

    /// PNG of eight bits, not interlaced, as Chromium writes it.
    fn decode(bytes: &[u8]) -> Self {
        assert_eq!(&bytes[..8], b"\x89PNG\r\n\x1a\n");
        let (mut at, mut packed, mut header) = (8, Vec::new(), Vec::new());
        while at + 8 <= bytes.len() {
            let length = u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap()) as usize;
            let body = &bytes[at + 8..at + 8 + length];
            match &bytes[at + 4..at + 8] {
                b"IHDR" => header = body.to_vec(),
                b"IDAT" => packed.extend_from_slice(body),
                _ => {}
            }
            at += 12 + length;
        }
        let number =
            |from: usize| u32::from_be_bytes(header[from..from + 4].try_into().unwrap()) as usize;
        let (width, height) = (number(0), number(4));
        let each = match (header[8], header[9], header[12]) {
            (8, 2, 0) => 3,
            (8, 6, 0) => 4,
            other => panic!("an unknown kind of PNG: {other:?}"),
        };
        let mut raw = Vec::new();
        ZlibDecoder::new(&packed[..]).read_to_end(&mut raw).unwrap();
        let mut above = vec![0; width * each];
        let mut rows = Vec::new();
        for line in raw.chunks(width * each + 1).take(height) {
            let mut now = line[1..].to_vec();
            unfilter(line[0], &mut now, &above, each);
            rows.push(
                now.chunks(each)
                    .map(|pixel| [pixel[0], pixel[1], pixel[2]])
                    .collect(),
            );
            above = now;
        }
        Self {
            width,
            height,
            rows,
        }
    }
}

fn unfilter(kind: u8, now: &mut [u8], above: &[u8], each: usize) {
    for at in 0..now.len() {
        let left = if at >= each { now[at - each] } else { 0 };
        let corner = if at >= each { above[at - each] } else { 0 };
        let guess = match kind {
            0 => 0,
            1 => left,
            2 => above[at],
            3 => u8::midpoint(left, above[at]),
            4 => paeth(left, above[at], corner),
            other => panic!("an unknown filter: {other}"),
        };
        now[at] = now[at].wrapping_add(guess);
    }
}

fn paeth(left: u8, above: u8, corner: u8) -> u8 {
    let guess = i16::from(left) + i16::from(above) - i16::from(corner);
    let distance = |to: u8| (guess - i16::from(to)).abs();
    let nearest = [left, above, corner]
        .into_iter()
        .min_by_key(|&to| distance(to));
    nearest.unwrap()
}
