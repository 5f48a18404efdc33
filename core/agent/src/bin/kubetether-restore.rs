//! Puts one Service back from inside the cluster, and takes its interceptor away. Started by the agent.
//!
//! Exit codes: 0 it is done, or there was nothing to do; 1 it could not be done now; 2 the environment is wrong.

use std::io::Write;
use std::process::ExitCode;

use kubetether_agent::restore::{Cluster, Task};

fn main() -> ExitCode {
    let say = |text: &str| {
        // A closed stderr leaves only the exit code.
        let _ = writeln!(std::io::stderr(), "kubetether restore: {text}");
    };
    let started =
        Task::from_env(std::env::var_os).and_then(|task| Ok((task, Cluster::from_env(std::env::var_os)?)));
    let (task, cluster) = match started {
        Ok(started) => started,
        Err(error) => {
            say(&error);
            return ExitCode::from(2);
        }
    };
    match task.run(&cluster) {
        Ok(done) => {
            say(done);
            ExitCode::SUCCESS
        }
        Err(error) => {
            say(&error);
            ExitCode::FAILURE
        }
    }
}
