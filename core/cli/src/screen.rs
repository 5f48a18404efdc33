//! The terminal, shared by results, happenings and logs, with one line of progress at the bottom.

use std::borrow::Cow;
use std::io::{self, IsTerminal, Write};
use std::sync::{Arc, Mutex, PoisonError};

/// Standard output and standard error, written to by one at a time.
///
/// Where standard error is a terminal, progress is one line that is drawn over, and everything else
/// is written above it.
pub(crate) struct Screen(Mutex<Inner>);

struct Inner {
    out: Box<dyn Write + Send>,
    err: Box<dyn Write + Send>,
    /// Whether standard error is a terminal that lines can be drawn over on.
    live: bool,
    progress: Option<String>,
    /// Whether a result could not be written though somebody wanted it.
    unwritten: bool,
}

// Progress longer than the terminal is wide would wrap, and could not be drawn over: wrapping is off
// while it is written.
const DRAW: (&str, &str) = ("\r\x1b[?7l", "\x1b[?7h\x1b[K");
const ERASE: &str = "\r\x1b[K";

impl Screen {
    /// The process's own.
    pub(crate) fn new() -> Self {
        let live = io::stderr().is_terminal() && std::env::var_os("TERM").is_none_or(|term| term != "dumb");
        Self::over(Box::new(io::stdout()), Box::new(io::stderr()), live)
    }

    pub(crate) fn over(out: Box<dyn Write + Send>, err: Box<dyn Write + Send>, live: bool) -> Self {
        Self(Mutex::new(Inner { out, err, live, progress: None, unwritten: false }))
    }

    /// Whether somebody sits at a terminal.
    pub(crate) fn is_live(&self) -> bool {
        self.lock().live
    }

    /// Writes a line to standard output.
    ///
    /// # Errors
    /// Standard output cannot be written to any more.
    pub(crate) fn result(&self, text: &str) -> io::Result<()> {
        let text = tame(text);
        let mut inner = self.lock();
        inner.erase();
        let written = writeln!(inner.out, "{text}").and_then(|()| inner.out.flush());
        // A reader that is gone has read enough; a full disk has not.
        if let Err(error) = &written
            && error.kind() != io::ErrorKind::BrokenPipe
            && !std::mem::replace(&mut inner.unwritten, true)
        {
            let _ = writeln!(inner.err, "error: standard output cannot be written: {error}");
        }
        inner.draw();
        written
    }

    /// Whether a result could not be written, for another reason than that its reader is gone.
    pub(crate) fn is_unwritten(&self) -> bool {
        self.lock().unwritten
    }

    /// Writes a line to standard error; if that fails there is nobody to tell.
    pub(crate) fn tell(&self, text: &str) {
        let text = tame(text);
        let mut inner = self.lock();
        inner.erase();
        let _ = writeln!(inner.err, "{text}");
        inner.draw();
    }

    /// Shows what goes on: drawn over on a terminal, a line elsewhere.
    pub(crate) fn progress(&self, text: &str) {
        let text = tame(text);
        let mut inner = self.lock();
        if inner.live {
            inner.progress = Some(text.into_owned());
            inner.draw();
        } else {
            let _ = writeln!(inner.err, "{text}");
        }
    }

    /// What went on is over.
    pub(crate) fn progress_over(&self) {
        let mut inner = self.lock();
        inner.erase();
        inner.progress = None;
    }

    /// Takes one log line.
    pub(crate) fn log_line(self: &Arc<Self>) -> LogLine {
        LogLine { screen: Arc::clone(self), text: Vec::new() }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn erase(&mut self) {
        if self.progress.is_some() {
            let _ = self.err.write_all(ERASE.as_bytes());
        }
    }

    fn draw(&mut self) {
        if let Some(text) = &self.progress {
            let _ = write!(self.err, "{}{text}{}", DRAW.0, DRAW.1);
            let _ = self.err.flush();
        }
    }
}

/// Text without what a terminal would obey, but for line ends, tabs and colours: much of it comes from the cluster, where anybody
/// may have written it.
fn tame(text: &str) -> Cow<'_, str> {
    let harmless = |char: char| !char.is_control() || matches!(char, '\n' | '\t');
    if text.chars().all(harmless) {
        return Cow::Borrowed(text);
    }
    let mut tamed = String::with_capacity(text.len());
    for (at, char) in text.char_indices() {
        if harmless(char) || (char == '\x1b' && is_colour(&text[at + 1..])) {
            tamed.push(char);
        } else {
            tamed.extend(char.escape_unicode());
        }
    }
    Cow::Owned(tamed)
}

/// Whether this, behind an escape, is a colour: `[`, numbers, `m`.
fn is_colour(text: &str) -> bool {
    let rest = text
        .strip_prefix('[')
        .map(|text| text.trim_start_matches(|char: char| char.is_ascii_digit() || char == ';'));
    rest.is_some_and(|rest| rest.starts_with('m'))
}

/// One log line: written when it is complete, and not into the progress line.
pub(crate) struct LogLine {
    screen: Arc<Screen>,
    text: Vec<u8>,
}

impl Write for LogLine {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.text.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for LogLine {
    fn drop(&mut self) {
        if !self.text.is_empty() {
            self.screen.tell(String::from_utf8_lossy(&self.text).trim_end());
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::exit::Exit;

    /// A writer whose bytes can be read while it is in use.
    #[derive(Clone, Default)]
    pub(crate) struct Sink(Arc<Mutex<Vec<u8>>>);

    impl Sink {
        pub(crate) fn text(&self) -> String {
            String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
        }
    }

    impl Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn screen(live: bool) -> (Screen, Sink, Sink) {
        let (out, err) = (Sink::default(), Sink::default());
        (Screen::over(Box::new(out.clone()), Box::new(err.clone()), live), out, err)
    }

    #[test]
    fn elsewhere_progress_is_plain_lines() {
        let (screen, out, err) = screen(false);
        screen.progress("one");
        screen.result("found").unwrap();
        screen.progress("two");
        screen.progress_over();
        assert_eq!((out.text().as_str(), err.text().as_str()), ("found\n", "one\ntwo\n"));
    }

    #[test]
    fn on_a_terminal_everything_else_stands_above_the_progress() {
        let (screen, out, err) = screen(true);
        screen.progress("one");
        screen.tell("note");
        screen.progress_over();
        let drawn = format!("{}one{}", DRAW.0, DRAW.1);
        assert_eq!(err.text(), format!("{drawn}{ERASE}note\n{drawn}{ERASE}"));
        assert_eq!(out.text(), "");
    }

    #[test]
    fn a_full_disk_is_told_once_and_a_reader_that_is_gone_is_not() {
        struct Failing(io::ErrorKind);
        impl Write for Failing {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(self.0.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        for (kind, told) in [(io::ErrorKind::StorageFull, 1), (io::ErrorKind::BrokenPipe, 0)] {
            let err = Sink::default();
            let screen = Screen::over(Box::new(Failing(kind)), Box::new(err.clone()), false);
            screen.result("one").unwrap_err();
            screen.result("two").unwrap_err();
            assert_eq!(err.text().matches("standard output cannot be written").count(), told);
            assert_eq!(screen.is_unwritten(), told > 0);
            let exit = Exit::Done.unless_unwritten(&screen);
            assert_eq!(exit, if told > 0 { Exit::Unwritten } else { Exit::Done });
        }
    }

    #[test]
    fn only_colours_are_obeyed() {
        let (screen, out, _) = screen(false);
        screen.result("\x1b[1;31merror\x1b[0m: \x1b[2Jone\n\ttwo\r\x1b]0;title\x07\x1b[").unwrap();
        let plain = "\x1b[1;31merror\x1b[0m: \\u{1b}[2Jone\n\ttwo\\u{d}\\u{1b}]0;title\\u{7}\\u{1b}[\n";
        assert_eq!(out.text(), plain);
    }

    #[test]
    fn a_log_line_is_written_whole() {
        let (screen, _, err) = screen(false);
        {
            let mut line = Arc::new(screen).log_line();
            line.write_all(b"WARN ").unwrap();
            line.screen.tell("between");
            line.write_all(b"late\n").unwrap();
        }
        assert_eq!(err.text(), "between\nWARN late\n");
    }
}
