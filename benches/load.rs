//! The load: so many keep-alive connections on one thread, each with one request at a time, for some seconds.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::carrier::header;
use crate::measure::Times;

/// What came of some seconds of load.
#[derive(Default)]
pub struct Load {
    /// The successful ones.
    pub times: Times,
    /// Those that were answered with anything but 200, or not at all.
    pub failed: u64,
    /// From the first request to the last answer.
    pub seconds: f64,
    /// The first failure, for the reader.
    pub complaint: Option<String>,
}

impl Load {
    pub fn per_second(&self) -> f64 {
        self.times.len() as f64 / self.seconds
    }
}

/// Asks `next` for a request until it has none or the time is over. `answered` is told the number of each request that was
/// answered with 200, and the body.
pub fn run(
    address: SocketAddr,
    connections: usize,
    most: Duration,
    next: impl FnMut() -> Option<(u64, Vec<u8>)>,
    answered: impl FnMut(u64, &str),
) -> Load {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (load, next, answered) = (RefCell::new(Load::default()), RefCell::new(next), RefCell::new(answered));
    let over = Cell::new(false);
    let begun = Instant::now();
    runtime.block_on(async {
        let all = (0..connections).map(|_| async {
            let mut line = Line::default();
            while !over.get() && begun.elapsed() < most {
                let Some((nth, request)) = next.borrow_mut()() else { break };
                let asked = Instant::now();
                let came = line.ask(address, &request).await;
                let took = asked.elapsed();
                let mut load = load.borrow_mut();
                match came {
                    Ok((200, body)) => {
                        load.times.add(took);
                        answered.borrow_mut()(nth, &body);
                    }
                    Ok((status, body)) => load.fail(format!("{status}: {body:.300}")),
                    Err(error) => load.fail(error.to_string()),
                }
                // A server that answers nothing is not waited for.
                over.set(load.failed > 1000);
            }
        });
        futures_util::future::join_all(all).await;
    });
    Load { seconds: begun.elapsed().as_secs_f64(), ..load.into_inner() }
}

impl Load {
    fn fail(&mut self, why: String) {
        self.failed += 1;
        self.complaint.get_or_insert(why);
    }
}

/// One connection, opened when it is needed.
#[derive(Default)]
struct Line {
    stream: Option<TcpStream>,
    buffer: Vec<u8>,
}

impl Line {
    /// A server may close a connection that was idle: the request is then asked once more on a new one.
    async fn ask(&mut self, address: SocketAddr, request: &[u8]) -> std::io::Result<(u16, String)> {
        let kept = self.stream.is_some();
        match self.once(address, request).await {
            Err(_) if kept => self.once(address, request).await,
            came => came,
        }
    }

    async fn once(&mut self, address: SocketAddr, request: &[u8]) -> std::io::Result<(u16, String)> {
        let mut stream = match self.stream.take() {
            Some(stream) => stream,
            None => {
                let stream = TcpStream::connect(address).await?;
                stream.set_nodelay(true)?;
                stream
            }
        };
        stream.write_all(request).await?;
        self.buffer.clear();
        loop {
            if stream.read_buf(&mut self.buffer).await? == 0 {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            }
            if let Some((status, body, stays)) = answer(&self.buffer) {
                self.stream = stays.then_some(stream);
                return Ok((status, body));
            }
        }
    }
}

/// Status, body, and whether the connection stays, once all of the answer is here.
fn answer(buffer: &[u8]) -> Option<(u16, String, bool)> {
    let end = buffer.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
    let (head, body) = buffer.split_at(end);
    let status = std::str::from_utf8(head.get(9..12)?).ok()?.parse().ok()?;
    let stays = header(head, "connection").is_none_or(|value| !value.eq_ignore_ascii_case("close"));
    let whole = match header(head, "content-length").and_then(|length| length.parse::<usize>().ok()) {
        Some(length) => body.get(..length)?,
        // Chunks: the body is small, and what stands between its parts does not matter here.
        None => body.ends_with(b"0\r\n\r\n").then_some(body)?,
    };
    Some((status, String::from_utf8_lossy(whole).into_owned(), stays))
}
