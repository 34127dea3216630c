//! A sandbox that runs in another process: whether it is there, and how it is ended.

use std::net::TcpStream;
use std::path::Path;
use std::time::{Duration, Instant};

use serde::Deserialize;

use super::client::{address, ask, block_on, client, unreachable};
use super::env_file;
use crate::error::{Code, Error, Result};

/// One that is there answers at once.
const ANSWER_MAX: Duration = Duration::from_secs(5);
/// One that was stopped closes its port well before this.
const END_MAX: Duration = Duration::from_secs(10);

/// A sandbox that answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Running {
    /// Its base URL.
    pub url: String,
    /// Its process.
    pub pid: u32,
}

/// The sandbox whose variables are in a file, if it still runs. A file that an ended one left behind, or whose address belongs to
/// another sandbox by now, is stale: `None`, as for a missing file.
///
/// # Errors
/// As [`Options::resume_from`](super::Options::resume_from).
pub fn of_env_file(path: &Path) -> Result<Option<Running>> {
    #[derive(Deserialize)]
    struct Index {
        account_sid: String,
        pid: u32,
    }
    let Some(saved) = env_file::read(path)? else { return Ok(None) };
    let Some(url) = saved.base_url else { return Ok(None) };
    let Ok(address) = address(&url, "/sandbox") else { return Ok(None) };
    let index = block_on(async {
        let answer = ask(client()?.get(address).timeout(ANSWER_MAX)).await?;
        answer.json::<Index>().await.map_err(unreachable)
    });
    let same = index.ok().filter(|index| saved.account_sid.as_ref() == Some(&index.account_sid));
    Ok(same.map(|index| Running { url, pid: index.pid }))
}

/// Ends the sandbox at a base URL, and returns once its address is free again.
///
/// # Errors
/// `CONFIG_INVALID` for a URL that is no base URL, `PROVIDER_UNREACHABLE` when no sandbox answers there or it does not end.
pub fn stop(url: &str) -> Result<()> {
    let address = address(url, "/sandbox/stop")?;
    block_on(async { ask(client()?.post(address.clone()).timeout(ANSWER_MAX)).await.map(drop) })?;
    let sockets = address.socket_addrs(|| None).unwrap_or_default();
    let until = Instant::now() + END_MAX;
    while sockets.iter().any(|socket| TcpStream::connect_timeout(socket, ANSWER_MAX).is_ok()) {
        if Instant::now() > until {
            return Err(Error::new(Code::PROVIDER_UNREACHABLE, "the sandbox was asked to end, and still answers")
                .hint("End its process, whose number `smsotp sandbox --detach` printed."));
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}
