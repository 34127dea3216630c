//! Connections: who is on, what each of them waits for, and who has to go when there is no place left.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use axum::http::Extensions;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::Notify;

use super::client::Proxies;

/// How many connections there may be, and how long each may wait for what. The numbers are those of ASVS 13.1.2's spirit: every
/// one of them is documented and none is "for ever".
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Connections in all.
    pub connections: usize,
    /// Connections of one address; not for this machine and trusted proxies.
    pub per_address: usize,
    /// From the first byte of a request (or the first moment of a connection) to the end of its head.
    pub head: Duration,
    /// From the head to the end of the body, at the very most.
    pub body: Duration,
    /// Between two requests.
    pub idle: Duration,
    /// For what is under way when the server is told to stop.
    pub drain: Duration,
}

impl Default for Bounds {
    fn default() -> Self {
        Bounds {
            connections: 256,
            per_address: 32,
            head: Duration::from_secs(5),
            body: Duration::from_secs(15),
            idle: Duration::from_secs(60),
            drain: Duration::from_secs(30),
        }
    }
}

const HEAD: u8 = 0;
const BODY: u8 = 1;
const BUSY: u8 = 2;
const IDLE: u8 = 3;

/// One connection.
pub(super) struct Connection {
    pub peer: SocketAddr,
    id: u64,
    phase: AtomicU8,
    /// Milliseconds since the registry began.
    since: AtomicU64,
    begun: Instant,
    end: Notify,
}

impl Connection {
    /// The connection that a request came in on.
    pub fn of(extensions: &Extensions) -> Option<&Arc<Connection>> {
        extensions.get::<Arc<Connection>>()
    }

    /// A whole request is here and an answer is being made: from now on nothing cuts it short.
    pub fn busy(&self) {
        self.enter(BUSY);
    }

    /// The head of a request is here.
    pub fn head_came(&self, has_body: bool) {
        self.enter(if has_body { BODY } else { BUSY });
    }

    /// Whether some of the body of the request is still to come.
    pub fn is_unread(&self) -> bool {
        self.phase.load(Ordering::Relaxed) == BODY
    }

    /// The answer is made.
    pub fn answered(&self) {
        self.enter(IDLE);
    }

    /// Waits until it has to go.
    pub async fn ended(&self) {
        self.end.notified().await;
    }

    fn enter(&self, phase: u8) {
        self.since.store(self.now(), Ordering::Relaxed);
        self.phase.store(phase, Ordering::Relaxed);
    }

    fn bytes_came(&self) {
        if self.phase.load(Ordering::Relaxed) == IDLE {
            self.enter(HEAD);
        }
    }

    fn now(&self) -> u64 {
        u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn is_overdue(&self, bounds: &Bounds) -> bool {
        let most = match self.phase.load(Ordering::Relaxed) {
            HEAD => bounds.head,
            BODY => bounds.body,
            IDLE => bounds.idle,
            _ => return false,
        };
        let waited = self.now().saturating_sub(self.since.load(Ordering::Relaxed));
        u128::from(waited) > most.as_millis()
    }
}

/// All connections.
pub(super) struct Registry {
    bounds: Bounds,
    begun: Instant,
    open: Mutex<Open>,
    /// Told whenever one goes.
    gone: Notify,
}

#[derive(Default)]
struct Open {
    next: u64,
    all: HashMap<u64, Arc<Connection>>,
    by_address: HashMap<IpAddr, usize>,
}

/// What came of a new connection.
pub(super) enum Admitted {
    /// There was a place; the name of a reason where somebody had to go for it.
    In(Arc<Connection>, Option<&'static str>),
    /// There is none, and everybody is at work.
    Full(&'static str),
}

impl Registry {
    pub fn new(bounds: Bounds) -> Registry {
        Registry { bounds, begun: Instant::now(), open: Mutex::default(), gone: Notify::new() }
    }

    /// Finds a place. When there is none, the one goes that has been without a complete request for the longest time.
    pub fn admit(&self, peer: SocketAddr, proxies: &Proxies) -> Admitted {
        let ip = peer.ip().to_canonical();
        let mut open = self.open();
        let counted = !ip.is_loopback() && !proxies.trusts(ip);
        let mut evicted = None;
        if counted && open.by_address.get(&ip).copied().unwrap_or(0) >= self.bounds.per_address {
            if !open.evict(Some(ip)) {
                return Admitted::Full("address");
            }
            evicted = Some("address");
        }
        if open.all.len() >= self.bounds.connections {
            if !open.evict(None) {
                return Admitted::Full("all");
            }
            evicted = Some("all");
        }
        let id = open.next;
        open.next += 1;
        let connection = Arc::new(Connection {
            peer,
            id,
            phase: AtomicU8::new(HEAD),
            since: AtomicU64::new(0),
            begun: self.begun,
            end: Notify::new(),
        });
        connection.enter(HEAD);
        open.all.insert(id, Arc::clone(&connection));
        *open.by_address.entry(ip).or_default() += 1;
        Admitted::In(connection, evicted)
    }

    /// Strikes a connection off.
    pub fn leave(&self, connection: &Connection) {
        self.open().remove(connection.id);
        self.gone.notify_waiters();
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.open().all.len()
    }

    /// Ends those that have waited for too long, and tells how many.
    pub fn sweep(&self) -> usize {
        let mut open = self.open();
        let overdue: Vec<u64> =
            open.all.values().filter(|one| one.is_overdue(&self.bounds)).map(|one| one.id).collect();
        for id in &overdue {
            open.end(*id);
        }
        overdue.len()
    }

    /// Waits until one goes, but not for long: whoever waits looks again.
    pub async fn changed(&self) {
        let _ = tokio::time::timeout(Duration::from_millis(50), self.gone.notified()).await;
    }

    fn open(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Open {
    /// Ends the longest idle one without a complete request; false where everybody is at work.
    fn evict(&mut self, of: Option<IpAddr>) -> bool {
        let idle = self.all.values().filter(|one| one.phase.load(Ordering::Relaxed) != BUSY);
        let idle = idle.filter(|one| of.is_none_or(|ip| one.peer.ip().to_canonical() == ip));
        let longest = idle.min_by_key(|one| (one.since.load(Ordering::Relaxed), one.id)).map(|one| one.id);
        longest.map(|id| self.end(id)).is_some()
    }

    fn end(&mut self, id: u64) {
        if let Some(connection) = self.remove(id) {
            connection.end.notify_one();
        }
    }

    fn remove(&mut self, id: u64) -> Option<Arc<Connection>> {
        let connection = self.all.remove(&id)?;
        let ip = connection.peer.ip().to_canonical();
        if let Some(count) = self.by_address.get_mut(&ip) {
            *count -= 1;
            if *count == 0 {
                self.by_address.remove(&ip);
            }
        }
        Some(connection)
    }
}

/// A stream that tells its connection when bytes come in.
pub(super) struct Watched<S> {
    pub stream: S,
    pub connection: Arc<Connection>,
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = into.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(cx, into);
        if into.filled().len() > before {
            self.connection.bytes_came();
        }
        polled
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }
    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    fn place(registry: &Registry, from: &str) -> Arc<Connection> {
        match registry.admit(peer(from), &Proxies::default()) {
            Admitted::In(connection, _) => connection,
            Admitted::Full(why) => panic!("full: {why}"),
        }
    }

    #[test]
    fn the_longest_idle_one_goes_and_nobody_at_work_does() {
        let registry = Registry::new(Bounds { connections: 3, ..Bounds::default() });
        let first = place(&registry, "127.0.0.1:1");
        first.busy();
        let second = place(&registry, "127.0.0.1:2");
        let third = place(&registry, "127.0.0.1:3");
        third.since.store(second.since.load(Ordering::Relaxed) + 5, Ordering::Relaxed);

        let fourth = place(&registry, "127.0.0.1:4");
        assert!(!registry.open().all.contains_key(&second.id), "the second waited for the longest time");
        assert!(registry.open().all.contains_key(&first.id), "the first is at work");

        third.busy();
        fourth.busy();
        assert!(matches!(registry.admit(peer("127.0.0.1:5"), &Proxies::default()), Admitted::Full("all")));
        registry.leave(&fourth);
        assert_eq!(registry.count(), 2);
        place(&registry, "127.0.0.1:5");
    }

    #[test]
    fn one_address_has_few_places_unless_it_is_this_machine_or_a_trusted_proxy() {
        let bounds = Bounds { per_address: 2, ..Bounds::default() };
        let registry = Registry::new(bounds);
        for port in 1..=5 {
            place(&registry, &format!("127.0.0.1:{port}"));
        }
        assert_eq!(registry.count(), 5);
        for port in 1..=5 {
            place(&registry, &format!("203.0.113.9:{port}")).busy();
            if port == 2 {
                break;
            }
        }
        assert!(matches!(registry.admit(peer("203.0.113.9:9"), &Proxies::default()), Admitted::Full("address")));
        let trusted = Proxies::new(vec!["203.0.113.0/24".parse().unwrap()]);
        assert!(matches!(registry.admit(peer("203.0.113.9:9"), &trusted), Admitted::In(_, None)));
    }

    #[test]
    fn whoever_waits_too_long_is_swept_away() {
        let registry = Registry::new(Bounds { head: Duration::ZERO, ..Bounds::default() });
        let slow = place(&registry, "127.0.0.1:1");
        let working = place(&registry, "127.0.0.1:2");
        working.busy();
        while slow.now() == slow.since.load(Ordering::Relaxed) {
            std::thread::yield_now();
        }

        assert_eq!(registry.sweep(), 1);
        assert_eq!(registry.count(), 1);
    }
}
