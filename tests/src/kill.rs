//! The kill matrix: one thing that users do, done again and again, and something killed before or after the n-th request
//! by which the client changes the cluster, for every n until a run needs no n-th.
//!
//! Nothing in the product knows of it: the client stands behind the proxy, which stops the world at that request.

#![allow(clippy::print_stdout, reason = "a test's output is shown when it fails")]

mod cell;
mod course;
mod row;
mod runs;

use std::panic::AssertUnwindSafe;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use futures_util::FutureExt;
use futures_util::future::join_all;
use tokio::sync::Semaphore;

use self::cell::Lane;
pub use self::course::Course;
use self::row::{Row, table};
use self::runs::Runs;
use crate::cluster::{Cluster, root};
use crate::command::Command;
use crate::diagnosis;
use crate::level::Level;

/// So many runs at once, of all matrices of this program: they wait far more than they work.
const AT_ONCE: usize = 8;

/// Another number of them.
const VARIABLE: &str = "KUBETETHER_KILL_AT_ONCE";

static TURNS: LazyLock<Semaphore> = LazyLock::new(|| Semaphore::new(at_once()));

/// Said, every n is taken with both moments; else they take turns.
const WHOLE: &str = "KUBETETHER_KILL_MATRIX";

/// Who is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Victim {
    /// The client's process, which is then gone for good.
    Client,
    /// The processes of all agents that run; the cluster starts them again, and the client goes on.
    Agents,
}

/// One matrix.
#[derive(Clone, Copy, Debug)]
pub struct Matrix {
    /// Who is killed.
    pub victim: Victim,
    /// What the client does.
    pub course: Course,
    /// What it may do.
    pub level: Level,
}

/// Runs a matrix, and writes its table to `target/kill-matrix`.
///
/// # Panics
/// With the table, when a run is not as it has to be.
pub fn kill_matrix(matrix: Matrix) {
    Command::prepare();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.unwrap_or_else(|error| panic!("runtime: {error}"));
    runtime.block_on(Box::pin(async {
        let whole = std::env::var_os(WHOLE).is_some_and(|value| value == "whole");
        let runs = Arc::new(Runs::new(matrix.victim, whole));
        let rows = Arc::new(Mutex::new(Vec::new()));
        join_all((0..at_once()).map(|_| lane(matrix, &runs, &rows))).await;
        let mut rows = std::mem::take(&mut *rows.lock().unwrap_or_else(PoisonError::into_inner));
        rows.sort_by_key(|row: &Row| row.place());
        let embedded = Cluster::connect().await.is_embedded().await;
        let name = format!("{}-{}", if embedded { "embedded" } else { "cluster" }, matrix.name());
        let text = table(&name, &rows);
        println!("{text}");
        write(&name, &text);
        assert!(rows.len() > 1, "no request was met:\n{text}");
        let bad = rows.iter().filter(|row| row.is_bad()).count();
        assert!(bad == 0, "{bad} of {} runs are not as they have to be:\n{text}", rows.len());
    }));
}

impl Matrix {
    /// As in `client-exchange-edit`.
    #[must_use]
    pub fn name(&self) -> String {
        let victim = match self.victim {
            Victim::Client => "client",
            Victim::Agents => "agents",
        };
        format!("{victim}-{}-{}", self.course.name(), self.level.name())
    }
}

/// Runs one after another, as long as there are some: in one namespace, which each has to leave as it was; after one that
/// does not, in another.
async fn lane(matrix: Matrix, runs: &Runs, rows: &Mutex<Vec<Row>>) {
    let Ok(_turn) = TURNS.acquire().await else { return };
    while let Some(first) = runs.next() {
        let lane = match AssertUnwindSafe(Lane::new(matrix)).catch_unwind().await {
            Ok(lane) => lane,
            Err(panic) => {
                rows.lock().unwrap_or_else(PoisonError::into_inner).push(Row::broken(first, &*panic));
                continue;
            }
        };
        let mut next = Some(first);
        while let Some(place) = next.take().or_else(|| runs.next()) {
            let ran = AssertUnwindSafe(lane.run(place)).catch_unwind().await;
            let row = ran.unwrap_or_else(|panic| Row::broken(place, &*panic));
            if row.is_beyond() {
                runs.is_beyond(place);
                if !row.is_bad() {
                    continue;
                }
            }
            let bad = row.is_bad();
            rows.lock().unwrap_or_else(PoisonError::into_inner).push(row);
            if bad {
                println!("--- {place} of {}", matrix.name());
                diagnosis::print(lane.namespace()).await;
                break;
            }
        }
        lane.namespace().delete().await;
    }
}

fn at_once() -> usize {
    let said = std::env::var(VARIABLE).ok().and_then(|text| text.parse().ok());
    said.filter(|count| *count > 0).unwrap_or(AT_ONCE)
}

fn write(name: &str, text: &str) {
    let folder = root().join("target/kill-matrix");
    let file = folder.join(format!("{name}.txt"));
    let written = std::fs::create_dir_all(&folder).and_then(|()| std::fs::write(&file, text));
    written.unwrap_or_else(|error| panic!("{}: {error}", file.display()));
}
