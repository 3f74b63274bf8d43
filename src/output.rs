//! What the process says on standard output and standard error. Everything passes the filter of secrets, and what cannot be
//! written is dropped: a full disk or a collector of logs that died is no reason to stop serving.

use std::io::{self, Write};

use crate::conceal::conceal;

/// Writes a line to standard output.
pub(crate) fn say(text: &str) {
    let mut out = io::stdout().lock();
    let _ = writeln!(out, "{}", conceal(text));
    let _ = out.flush();
}

/// Writes a line to standard error.
pub(crate) fn complain(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{}", conceal(text));
}

/// Writes log lines to standard error. It never fails: the subscriber would say so on standard error, by a macro that
/// panics when that cannot be written.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Log;

impl Write for Log {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(line);
        let _ = io::stderr().lock().write_all(conceal(&text).as_bytes());
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Has panics say what they say through the filter, with the place and, if `RUST_BACKTRACE` asks for it, the way there.
pub(crate) fn conceal_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let trace = std::backtrace::Backtrace::capture();
        let name = std::thread::current().name().unwrap_or("a thread").to_owned();
        match trace.status() {
            std::backtrace::BacktraceStatus::Captured => complain(&format!("{name}: {panic}\n{trace}")),
            _ => complain(&format!("{name}: {panic}")),
        }
    }));
}
