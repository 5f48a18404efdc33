//! Many connections: at once, or one after another.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::sync::{Arc, Barrier, mpsc};
use std::time::{Duration, Instant};

use crate::args::Args;
use crate::fault;
use crate::http::{self, Client, Url};

/// `--parallel N`: N connections that are all open at the same moment, each asking before and after it.
/// `--sequential N`: N connections one after another, by `--workers` of them (1).
///
/// Prints `ms=TOOK` and the count of each outcome, as in `name=local count=1000` or `error=reset count=3`.
///
/// # Errors
/// When the name has no address or no thread can be had.
pub fn run(args: &Args) -> Result<(), String> {
    let url = Url::parse(args.word(1, "the URL")?)?;
    let deadline = Duration::from_millis(args.get("deadline-ms", 20_000)?);
    let parallel: usize = args.get("parallel", 0)?;
    let sequential: usize = args.get("sequential", 0)?;
    let workers: usize = args.get("workers", 1)?;
    let address = url.resolve().map_err(|error| fault::word(&error))?;

    let began = Instant::now();
    let outcomes = if parallel > 0 {
        let barrier = Arc::new(Barrier::new(parallel));
        gather(parallel, &url, move |url| vec![hold(address, deadline, url, &barrier)])?
    } else {
        let each = sequential.div_ceil(workers.max(1));
        gather(workers, &url, move |url| (0..each).map(|_| once(address, deadline, url)).collect())?
    };
    let mut counts = BTreeMap::<String, usize>::new();
    for outcome in outcomes {
        let word = outcome
            .map_or_else(|error| format!("error={}", fault::word(&error)), |name| format!("name={name}"));
        *counts.entry(word).or_default() += 1;
    }
    let mut text = format!("ms={}\n", began.elapsed().as_millis());
    for (word, count) in counts {
        text.push_str(&format!("{word} count={count}\n"));
    }
    io::stdout().write_all(text.as_bytes()).map_err(|error| error.to_string())
}

type Outcome = io::Result<String>;

/// Runs `work` in `count` threads and gathers what they give.
fn gather(
    count: usize,
    url: &Url,
    work: impl Fn(&Url) -> Vec<Outcome> + Send + Sync + 'static,
) -> Result<Vec<Outcome>, String> {
    let work = Arc::new(work);
    let (send, receive) = mpsc::channel();
    for _ in 0..count {
        let (send, work, url) = (send.clone(), Arc::clone(&work), url.clone());
        crate::spawn(move || drop(send.send(work(&url)))).map_err(|error| error.to_string())?;
    }
    drop(send);
    Ok(receive.into_iter().flatten().collect())
}

fn once(address: SocketAddr, deadline: Duration, url: &Url) -> Outcome {
    let body = Client::connect(address, deadline)?.get(&url.host, &url.path)?;
    Ok(http::name_in(&body).to_owned())
}

fn hold(address: SocketAddr, deadline: Duration, url: &Url, barrier: &Barrier) -> Outcome {
    let first = Client::connect(address, deadline)
        .and_then(|mut client| client.get(&url.host, &url.path).map(|_| client));
    // Also after a failure: the others wait for all.
    barrier.wait();
    let body = first?.get(&url.host, &url.path)?;
    Ok(http::name_in(&body).to_owned())
}
