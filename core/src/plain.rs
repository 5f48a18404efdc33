//! Text that came from the cluster, where anybody may have written it, as it is shown to people.

/// In one line, without what a terminal would obey.
pub(crate) fn line(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for char in text.chars() {
        if is_obeyed(char) { plain.extend(char.escape_unicode()) } else { plain.push(char) }
    }
    plain
}

/// Control characters, and those that turn the direction of what follows.
fn is_obeyed(char: char) -> bool {
    char.is_control()
        || matches!(char, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_obeyed() {
        assert_eq!(line("Ana Müller@laptop ✓"), "Ana Müller@laptop ✓");
        assert_eq!(line("\x1b[2J\nline2\u{9b}m\u{202e}"), "\\u{1b}[2J\\u{a}line2\\u{9b}m\\u{202e}");
    }
}
