//! Putting the Service back when nobody comes any more: when, and by which program.
//!
//! The program is another one, `kubetether-restore`: what it needs (TLS, JSON) is bigger than the agent, and only an
//! interceptor whose client could give it the right is given that file. It runs once in the life of an exchange.

use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};

/// A client whose link has ended, which it does only after the grace period, may come back by a new one.
const SETTLE: Duration = Duration::from_secs(10);
/// Between two looks whether the program has ended.
const LOOK: Duration = Duration::from_millis(100);
/// The program has its own, shorter limits for whatever it asks and waits for.
const LIMIT: Duration = Duration::from_secs(150);
/// After a try that failed: doubled from the first to the last.
const PAUSES: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(60));

/// Runs `program` when no client has been attached for the grace period, again and again until it succeeds or a
/// client comes. Never returns.
pub(crate) async fn watch(program: PathBuf, mut links: watch::Receiver<usize>, grace: Duration) {
    let mut known = false;
    loop {
        // The sender lives as long as the process.
        if links.wait_for(|links| *links == 0).await.is_err() {
            return std::future::pending().await;
        }
        let pause = if known { SETTLE.min(grace) } else { grace };
        let restored = async {
            sleep(pause).await;
            until_restored(&program).await;
            // Kubernetes asks this process to end soon. A client that comes meanwhile begins it all anew.
            std::future::pending::<()>().await;
        };
        tokio::select! {
            biased;
            _ = links.wait_for(|links| *links > 0) => {}
            () = restored => {}
        }
        known = true;
    }
}

async fn until_restored(program: &Path) {
    let mut pause = PAUSES.0;
    loop {
        tracing::info!("no client comes any more: the Service is put back from here");
        match run(program).await {
            Ok(status) if status.success() => {
                tracing::info!("the Service is put back");
                return;
            }
            Ok(status) => tracing::warn!(%status, "the Service is not put back; trying again"),
            Err(error) => tracing::warn!(%error, "what puts the Service back does not run; trying again"),
        }
        sleep(pause).await;
        pause = (pause * 2).min(PAUSES.1);
    }
}

/// Runs the program to its end. One that is given up is killed.
async fn run(program: &Path) -> io::Result<ExitStatus> {
    let mut running = Running(Command::new(program).stdin(Stdio::null()).spawn()?);
    let end = Instant::now() + LIMIT;
    let ended = async {
        loop {
            if let Some(status) = running.0.try_wait()? {
                return Ok(status);
            }
            sleep(LOOK).await;
        }
    };
    timeout(end.saturating_duration_since(Instant::now()), ended)
        .await
        .unwrap_or_else(|_| Err(io::Error::new(io::ErrorKind::TimedOut, "it does not end")))
}

struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // One that has ended cannot be killed, and is waited for already.
        if self.0.kill().is_ok() {
            let _ = self.0.wait();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    const GRACE: Duration = Duration::from_millis(50);

    /// A program that writes a line for each run, and fails the first `failures` times.
    fn program(failures: u32) -> (tempfile::TempDir, PathBuf, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let (program, told) = (folder.path().join("restore"), folder.path().join("told"));
        let text = format!(
            "#!/bin/sh\necho run >> {told}\n[ $(wc -l < {told}) -gt {failures} ]\n",
            told = told.display()
        );
        fs::write(&program, text).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        (folder, program, told)
    }

    fn runs(told: &Path) -> usize {
        fs::read_to_string(told).unwrap_or_default().lines().count()
    }

    async fn until_runs(told: &Path, count: usize) {
        let reached = async {
            while runs(told) < count {
                sleep(LOOK).await;
            }
        };
        timeout(Duration::from_secs(60), reached).await.unwrap();
    }

    #[tokio::test]
    async fn it_is_put_back_when_nobody_ever_came_and_a_failure_is_tried_again() {
        let (_folder, program, told) = program(1);
        let links = watch::Sender::new(0);
        let watching = tokio::spawn(watch(program, links.subscribe(), GRACE));
        until_runs(&told, 2).await;
        assert!(!watching.is_finished());
        watching.abort();
    }

    #[tokio::test]
    async fn it_is_put_back_after_the_last_client_and_not_before() {
        let (_folder, program, told) = program(0);
        let links = watch::Sender::new(1);
        let watching = tokio::spawn(watch(program, links.subscribe(), GRACE));
        sleep(20 * GRACE).await;
        assert_eq!(runs(&told), 0, "a client is attached");
        links.send_replace(0);
        until_runs(&told, 1).await;
        // One that came afterwards goes, too.
        links.send_replace(1);
        sleep(2 * GRACE).await;
        links.send_replace(0);
        until_runs(&told, 2).await;
        watching.abort();
    }
}
