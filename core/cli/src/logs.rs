//! Logs on standard error, for who asks for them.

use std::sync::Arc;

use tracing_subscriber::EnvFilter;

use crate::screen::Screen;

/// The variable that says more finely than `-v` what is logged.
pub(crate) const VARIABLE: &str = "KUBETETHER_LOG";

/// Installs the logger: this program is the host, the engine installs none.
///
/// # Errors
/// The variable's directives cannot be parsed.
pub(crate) fn install(verbose: u8, colour: bool, screen: Arc<Screen>) -> Result<(), String> {
    let directives = match std::env::var(VARIABLE) {
        Ok(text) if !text.is_empty() => text,
        Ok(_) | Err(_) => directives(verbose).to_owned(),
    };
    let filter = EnvFilter::try_new(&directives)
        .map_err(|error| format!("{VARIABLE}={directives}: {error}; write for example kubetether=debug"))?;
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(colour)
        .with_writer(move || screen.log_line())
        .try_init()
        .map_err(|error| format!("logs cannot be written: {error}"))
}

/// More `-v` first shows more of ours, then of what we are built on. `kube_client` warns with the whole of an answer that it
/// cannot read, of any size and with whatever it holds; our error tells what matters.
fn directives(verbose: u8) -> &'static str {
    match verbose {
        0 => "warn,kube_client=off",
        1 => "warn,kube_client=off,kubetether=info,kubetether_link=info",
        2 => "info,kubetether=debug,kubetether_link=debug",
        _ => "debug,kubetether=trace,kubetether_link=trace",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directives_parse() {
        for verbose in 0..5 {
            assert!(EnvFilter::try_new(directives(verbose)).is_ok(), "{verbose}");
        }
    }
}
