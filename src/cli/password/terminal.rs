//! Questions on the terminal whose answers are not shown.
//!
//! The kernel goes on editing the line (erase, kill), it only does not show it. Must never be true: a question that is
//! seen while typing still is; a terminal that stays silent, whatever ends the question. Called by `password`.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::termios::{
    LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcsetattr,
};
use signal_hook::consts::signal::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::{flag, low_level};
use zeroize::Zeroizing;

use crate::secret::SecretString;

/// Bytes of one answer, as many as the kernel keeps of a line.
const ANSWER_BYTES_MAX: usize = 4096;

/// The terminal, silent until this is dropped.
pub(super) struct Terminal {
    tty: File,
    before: Termios,
    signals: Signals,
}

impl Terminal {
    /// Opens this process's terminal, whatever standard input and output are. `None`: it has none.
    pub(super) fn silence() -> Result<Option<Self>, String> {
        let Ok(tty) = File::options().read(true).write(true).open("/dev/tty") else {
            return Ok(None);
        };
        let signals = Signals::catch().map_err(failed)?;
        let before = tcgetattr(&tty).map_err(|error| failed(error.into()))?;
        let mut silent = before.clone();
        silent.local_modes.remove(LocalModes::ECHO);
        // Who suspends or quits from the keyboard would be left without an echo, or leave a core.
        for key in [SpecialCodeIndex::VSUSP, SpecialCodeIndex::VQUIT] {
            silent.special_codes[key] = 0;
        }
        // What was typed so far was seen, and is no answer.
        tcsetattr(&tty, OptionalActions::Flush, &silent).map_err(|error| failed(error.into()))?;
        Ok(Some(Self {
            tty,
            before,
            signals,
        }))
    }

    /// Asks, and waits for as long as it takes.
    pub(super) fn ask(&mut self, question: &str) -> Result<SecretString, String> {
        self.tty.write_all(question.as_bytes()).map_err(failed)?;
        let answer = self.line();
        if answer.is_err() {
            self.restore();
            self.signals.obey();
        }
        // The line break that was typed was not shown either.
        self.tty.write_all(b"\n").map_err(failed)?;
        answer
    }

    fn line(&mut self) -> Result<SecretString, String> {
        let mut answer = Zeroizing::new(Vec::with_capacity(ANSWER_BYTES_MAX));
        while answer.last() != Some(&b'\n') {
            self.wait()?;
            let mut piece = Zeroizing::new([0; 256]);
            let count = self.tty.read(&mut *piece).map_err(failed)?;
            if count == 0 || answer.len() + count > ANSWER_BYTES_MAX {
                break;
            }
            answer.extend_from_slice(piece.get(..count).unwrap_or_default());
        }
        let text =
            std::str::from_utf8(&answer).map_err(|_| "the password is not UTF-8".to_owned())?;
        match text.strip_suffix('\n') {
            Some(line) => Ok(SecretString::new(line.trim_end_matches('\r').to_owned())),
            None if text.is_empty() => Err("no password was given".to_owned()),
            None => Err(format!(
                "a password has less than {ANSWER_BYTES_MAX} bytes, and a line break ends it"
            )),
        }
    }

    /// Until there is something to read; an error once a signal has come.
    fn wait(&self) -> Result<(), String> {
        loop {
            let mut both = [
                PollFd::new(&self.tty, PollFlags::IN),
                PollFd::new(&self.signals.woken, PollFlags::IN),
            ];
            match poll(&mut both, None) {
                Err(Errno::INTR) => {}
                Err(error) => return Err(failed(error.into())),
                Ok(_) if self.signals.came() => return Err("interrupted".to_owned()),
                Ok(_) => return Ok(()),
            }
        }
    }

    fn restore(&self) {
        // There is nothing to be done if it fails: the terminal is gone.
        let _ = tcsetattr(&self.tty, OptionalActions::Flush, &self.before);
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        self.restore();
    }
}

#[allow(clippy::needless_pass_by_value, reason = "as map_err hands it over")]
fn failed(error: io::Error) -> String {
    format!("the terminal: {error}")
}

/// Signals that would end the process: kept until the terminal is as it was.
struct Signals {
    /// The last one, 0 while none has come.
    last: Arc<AtomicUsize>,
    woken: UnixStream,
    /// From when on they do what they always do.
    over: Arc<AtomicBool>,
}

impl Signals {
    fn catch() -> io::Result<Self> {
        let (woken, waker) = UnixStream::pair()?;
        let (last, over) = (
            Arc::new(AtomicUsize::new(0)),
            Arc::new(AtomicBool::new(false)),
        );
        for signal in [SIGINT, SIGTERM, SIGHUP] {
            flag::register_conditional_default(signal, Arc::clone(&over))?;
            let number = usize::try_from(signal).unwrap_or_default();
            flag::register_usize(signal, Arc::clone(&last), number)?;
            low_level::pipe::register(signal, waker.try_clone()?)?;
        }
        Ok(Self { last, woken, over })
    }

    fn came(&self) -> bool {
        self.last.load(Ordering::Acquire) != 0
    }

    /// Ends as the signal would have ended this process, if one has come.
    fn obey(&self) {
        if let Ok(signal @ 1..) = i32::try_from(self.last.load(Ordering::Acquire)) {
            let _ = low_level::emulate_default_handler(signal);
        }
    }
}

impl Drop for Signals {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Release);
    }
}
