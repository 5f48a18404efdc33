//! Large bodies, checked at both ends.

use std::io::{self, ErrorKind, Read, Write};
use std::time::{Duration, Instant};

use crate::args::Args;
use crate::content::{self, Sum};
use crate::fault;
use crate::http::{Client, Url};

/// `down URL BYTES` reads a generated body, `up URL BYTES` sends one, where URL has no path. Prints
/// `ms=TOOK n=BYTES sum=HEX` as this end or, upwards, as the server has summed it.
///
/// # Errors
/// The fault's word, or `sum` when bytes are wrong.
pub fn run(args: &Args) -> Result<(), String> {
    let direction = args.word(1, "up or down")?;
    let url = Url::parse(args.word(2, "the URL")?)?;
    let count: u64 = args.word(3, "the number of bytes")?.parse().map_err(|_| "not a number of bytes")?;
    let deadline = Duration::from_millis(args.get("deadline-ms", 20_000)?);
    let began = Instant::now();
    let sum = match direction {
        "down" => down(&url, count, deadline),
        "up" => up(&url, count, deadline),
        _ => return Err(format!("{direction}: neither up nor down")),
    };
    let sum = sum.map_err(|error| fault::word(&error))?;
    let expected = Sum::generated(count).to_string();
    if sum != expected {
        return Err(format!("sum: {sum} instead of {expected}"));
    }
    writeln!(io::stdout(), "ms={} {sum}", began.elapsed().as_millis()).map_err(|error| error.to_string())
}

fn down(url: &Url, count: u64, deadline: Duration) -> io::Result<String> {
    let mut client = Client::connect(url.resolve()?, deadline)?;
    client.ask("GET", &url.host, &format!("/bytes?n={count}"), 0)?;
    let mut left = client.answer()?;
    let mut sum = Sum::default();
    let mut chunk = vec![0; 64 * 1024];
    while left > 0 {
        let want = chunk.len().min(left as usize);
        let got = client.stream().read(&mut chunk[..want])?;
        if got == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        sum.add(&chunk[..got]);
        left -= got as u64;
    }
    Ok(sum.to_string())
}

fn up(url: &Url, count: u64, deadline: Duration) -> io::Result<String> {
    let mut client = Client::connect(url.resolve()?, deadline)?;
    client.ask("POST", &url.host, "/sum", count)?;
    let mut chunk = vec![0; 64 * 1024];
    let mut offset = 0;
    while offset < count {
        let part = chunk.len().min((count - offset) as usize);
        content::fill(&mut chunk[..part], offset);
        client.stream().get_mut().write_all(&chunk[..part])?;
        offset += part as u64;
    }
    let length = client.answer()?;
    let mut body = String::new();
    client.stream().take(length).read_to_string(&mut body)?;
    let at = body.find("n=").and_then(|_| body.rfind(" n=")).ok_or(ErrorKind::InvalidData)?;
    Ok(body[at..].trim().to_owned())
}
