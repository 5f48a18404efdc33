//! Options of a command: `--name value`, and plain words.

use std::str::FromStr;

/// The words after a command.
#[derive(Debug, Default)]
pub struct Args {
    words: Vec<String>,
    options: Vec<(String, String)>,
}

impl Args {
    /// Splits `--name value` pairs from plain words.
    ///
    /// # Errors
    /// When an option has no value.
    pub fn parse(args: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut parsed = Self::default();
        let mut args = args;
        while let Some(arg) = args.next() {
            match arg.strip_prefix("--") {
                Some(name) => {
                    let value = args.next().ok_or_else(|| format!("--{name} needs a value"))?;
                    parsed.options.push((name.to_owned(), value));
                }
                None => parsed.words.push(arg),
            }
        }
        Ok(parsed)
    }

    /// The plain words.
    #[must_use]
    pub fn words(&self) -> &[String] {
        &self.words
    }

    /// The plain word at `index`.
    ///
    /// # Errors
    /// When there is none; `what` names it.
    pub fn word(&self, index: usize, what: &str) -> Result<&str, String> {
        self.words.get(index).map(String::as_str).ok_or_else(|| format!("{what} is missing"))
    }

    /// All values of an option, in order.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.options.iter().filter(move |(option, _)| option == name).map(|(_, value)| value.as_str())
    }

    /// The last value of an option, or `default`.
    ///
    /// # Errors
    /// When it does not parse.
    pub fn get<T: FromStr>(&self, name: &str, default: T) -> Result<T, String> {
        match self.all(name).last() {
            Some(text) => text.parse().map_err(|_| format!("--{name} {text}: cannot be meant")),
            None => Ok(default),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_may_repeat_and_stand_anywhere() {
        let words = "get --http 1 url --http 2".split(' ').map(str::to_owned);
        let args = Args::parse(words).unwrap();
        assert_eq!(args.words(), ["get", "url"]);
        assert_eq!(args.all("http").collect::<Vec<_>>(), ["1", "2"]);
        assert_eq!(args.get("http", 0), Ok(2));
        assert_eq!(args.get("other", 7), Ok(7));
        assert!(Args::parse(["--http".to_owned()].into_iter()).is_err());
    }
}
