//! Says on standard error why the agent could not be started.

use crate::sys::{Failed, say};

/// One line of bounded length, written at once so that lines of two processes do not mix.
pub(crate) struct Line {
    bytes: [u8; 512],
    length: usize,
}

impl Line {
    pub(crate) fn new(text: &str) -> Self {
        Self { bytes: [0; 512], length: 0 }.text("kubetether loader: ").text(text)
    }

    pub(crate) fn text(self, text: &str) -> Self {
        self.bytes(text.as_bytes())
    }

    /// What does not fit is cut off.
    pub(crate) fn bytes(mut self, bytes: &[u8]) -> Self {
        for &byte in bytes {
            // The last byte is kept for the line's end.
            if self.length + 1 < self.bytes.len() {
                self.bytes[self.length] = byte;
                self.length += 1;
            }
        }
        self
    }

    /// `call: ENAME (number)`.
    pub(crate) fn failed(self, failed: Failed) -> Self {
        let mut digits = [0; 10];
        self.text(failed.call)
            .text(": ")
            .text(name(failed.errno))
            .text(" (errno ")
            .bytes(decimal(failed.errno, &mut digits))
            .text(")")
    }

    pub(crate) fn say(mut self) {
        self.bytes[self.length] = b'\n';
        say(&self.bytes[..=self.length]);
    }
}

fn decimal(value: i32, digits: &mut [u8; 10]) -> &[u8] {
    let mut rest = value.unsigned_abs();
    let mut start = digits.len();
    loop {
        start -= 1;
        digits[start] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 || start == 0 {
            return &digits[start..];
        }
    }
}

/// The errnos that a node or a pod's settings can cause here.
fn name(errno: i32) -> &'static str {
    match errno {
        1 => "EPERM",
        2 => "ENOENT",
        8 => "ENOEXEC",
        12 => "ENOMEM",
        13 => "EACCES",
        20 => "ENOTDIR",
        22 => "EINVAL",
        24 => "EMFILE",
        26 => "ETXTBSY",
        28 => "ENOSPC",
        30 => "EROFS",
        38 => "ENOSYS",
        122 => "EDQUOT",
        _ => "error",
    }
}
