//! The in-cluster process: reads its environment, runs until it is no longer needed.
//!
//! Exit codes: 0 no longer needed or asked to end, 1 it could not go on, 2 the environment is wrong.

use std::io::Write;
use std::process::ExitCode;

use kubetether_agent::{Config, Log, run};

fn main() -> ExitCode {
    let config = match Config::from_env(std::env::var_os) {
        Ok(config) => config,
        Err(error) => {
            // No logger yet; a closed stderr leaves only the exit code.
            let _ = writeln!(std::io::stderr(), "kubetether agent: {error}");
            return ExitCode::from(2);
        }
    };
    Log::new(config.log).install();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let result = match runtime {
        Ok(runtime) => runtime.block_on(run(config)),
        Err(error) => {
            tracing::error!(%error, "no runtime");
            return ExitCode::FAILURE;
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(error = &error as &dyn std::error::Error, "the agent ends");
            ExitCode::FAILURE
        }
    }
}
