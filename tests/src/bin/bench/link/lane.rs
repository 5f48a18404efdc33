//! A connection to the workload's `bytes` port that is used again and again.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use kubetether_workload::content::{Checked, pattern};

/// A run in which nothing moves for so long hangs.
const PATIENCE: Duration = Duration::from_secs(30);

/// Bytes of one read.
const READ: usize = 256 * 1024;

/// Bytes of one write.
const WRITE: usize = 64 * 1024;

/// Which way bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    /// From the cluster.
    Down,
    /// To the cluster.
    Up,
}

/// One connection.
#[derive(Debug)]
pub(crate) struct Lane {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Lane {
    /// Connects, and goes the whole way once.
    ///
    /// # Panics
    /// When nothing comes back.
    pub(crate) fn open(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap_or_else(|error| panic!("{address}: {error}"));
        let set = |set: std::io::Result<()>| set.unwrap_or_else(|error| panic!("{address}: {error}"));
        set(stream.set_nodelay(true));
        set(stream.set_read_timeout(Some(PATIENCE)));
        set(stream.set_write_timeout(Some(PATIENCE)));
        let mut lane = Self { stream, buffer: vec![0; READ] };
        lane.carry(Direction::Down, 1);
        lane
    }

    /// Carries so many bytes, and looks at each of them.
    ///
    /// # Panics
    /// When one is wrong, or does not come.
    pub(crate) fn carry(&mut self, direction: Direction, count: u64) {
        match direction {
            Direction::Down => {
                self.write(format!("down {count}\n").as_bytes());
                let mut checked = Checked::default();
                while checked.count() < count {
                    let most = READ.min(usize::try_from(count - checked.count()).unwrap_or(READ));
                    let read = self.stream.read(&mut self.buffer[..most]);
                    let read =
                        read.unwrap_or_else(|error| panic!("after {} bytes: {error}", checked.count()));
                    assert!(read > 0, "it ended after {} of {count} bytes", checked.count());
                    checked.add(&self.buffer[..read]);
                }
                assert_eq!(checked.wrong(), None, "a wrong byte came");
            }
            Direction::Up => {
                self.write(format!("up {count}\n").as_bytes());
                let mut offset = 0;
                while offset < count {
                    let part = WRITE.min(usize::try_from(count - offset).unwrap_or(WRITE));
                    self.write(pattern(offset, part));
                    offset += part as u64;
                }
                let mut answer = [0; 3];
                let read = self.stream.read_exact(&mut answer);
                read.unwrap_or_else(|error| panic!("no answer to {count} bytes: {error}"));
                assert_eq!(&answer, b"ok\n", "a wrong byte arrived");
            }
        }
    }

    fn write(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap_or_else(|error| panic!("writing: {error}"));
    }
}

/// Lanes that carry bytes together; MB/s (10^6).
pub(crate) fn together(lanes: &mut [Lane], direction: Direction, total: u64) -> f64 {
    let each = total / lanes.len() as u64;
    let began = Instant::now();
    tokio::task::block_in_place(|| {
        std::thread::scope(|scope| {
            for lane in lanes.iter_mut() {
                scope.spawn(|| lane.carry(direction, each));
            }
        });
    });
    (each * lanes.len() as u64) as f64 / began.elapsed().as_secs_f64() / 1e6
}
