//! Processes that die with the embedded cluster, however it ends.

use std::io;
use std::process::ExitStatus;
use std::sync::{Arc, Mutex, PoisonError};

use rustix::process::{Pid, Signal, kill_process_group, set_parent_process_death_signal};
use tokio::process::{Child, Command};
use tokio::sync::{mpsc, oneshot};

/// Orders that wait for the spawning thread.
const ORDERS: usize = 64;
/// A program that was just written may be open in a process that is being forked: it is tried again.
const BUSY: (u32, std::time::Duration) = (100, std::time::Duration::from_millis(2));

type Order = (Command, oneshot::Sender<io::Result<Child>>);

/// Starts processes from one thread that lives as long as the cluster: the kernel ends a child with the *thread*
/// that started it, and a runtime's threads come and go.
#[derive(Debug)]
pub(crate) struct Spawner {
    orders: mpsc::Sender<Order>,
}

impl Spawner {
    /// Needs a runtime.
    pub(crate) fn new() -> io::Result<Self> {
        let (orders, mut wanted) = mpsc::channel::<Order>(ORDERS);
        let runtime = tokio::runtime::Handle::current();
        std::thread::Builder::new().name("sim-spawner".into()).spawn(move || {
            while let Some((command, answer)) = wanted.blocking_recv() {
                let _entered = runtime.enter();
                // Dropped with the process when nobody waits any more.
                let _ = answer.send(spawn(command));
            }
        })?;
        Ok(Self { orders })
    }

    /// Starts a process, the first of a group of its own.
    pub(crate) async fn start(&self, mut command: Command) -> io::Result<Running> {
        die_with_parent(&mut command);
        command.process_group(0).kill_on_drop(true);
        let (answer, told) = oneshot::channel();
        let over = || io::Error::other("the embedded cluster is stopping");
        self.orders.send((command, answer)).await.map_err(|_| over())?;
        let child = told.await.map_err(|_| over())??;
        let id = child.id().and_then(|id| Pid::from_raw(id.cast_signed()));
        Ok(Running { child, group: Group(Arc::new(Mutex::new(id))) })
    }
}

fn spawn(mut command: Command) -> io::Result<Child> {
    let mut tries = 0;
    loop {
        match command.spawn() {
            Err(error) if error.kind() == io::ErrorKind::ExecutableFileBusy && tries < BUSY.0 => {
                tries += 1;
                std::thread::sleep(BUSY.1);
            }
            done => return done,
        }
    }
}

#[expect(unsafe_code, reason = "there is no other way to have the kernel end a child with its parent")]
fn die_with_parent(command: &mut Command) {
    // SAFETY: between fork and exec the closure makes one system call, and neither allocates nor locks.
    unsafe {
        command.pre_exec(|| Ok(set_parent_process_death_signal(Some(Signal::KILL))?));
    }
}

/// A process that runs.
#[derive(Debug)]
pub(crate) struct Running {
    pub(crate) child: Child,
    group: Group,
}

impl Running {
    pub(crate) fn group(&self) -> Group {
        self.group.clone()
    }

    /// Waits for its end; what is left of its group is killed then.
    pub(crate) async fn wait(&mut self) -> io::Result<ExitStatus> {
        let status = self.child.wait().await;
        self.group.over();
        status
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.group.over();
    }
}

/// A process and those that it started.
#[derive(Clone, Debug)]
pub(crate) struct Group(Arc<Mutex<Option<Pid>>>);

impl Group {
    /// Sends a signal to all of it, if it is there.
    pub(crate) fn signal(&self, signal: Signal) {
        if let Some(id) = *self.0.lock().unwrap_or_else(PoisonError::into_inner) {
            // Gone already is as good.
            let _ = kill_process_group(id, signal);
        }
    }

    fn over(&self) {
        let id = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(id) = id {
            let _ = kill_process_group(id, Signal::KILL);
        }
    }
}
