//! How many connections may be open at once, and how long each may take for what.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::subject::Subject;

/// The bounds of connections. Every one ends: a client that holds a place without a complete request loses it within seconds,
/// so that a client that waits for a place gets one.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Connections in all.
    pub connections: usize,
    /// Connections of one address; not for this machine and trusted proxies.
    pub per_address: usize,
    /// From the start of a connection, or from the answer before, to the end of a request's head; and for a TLS handshake.
    pub head: Duration,
    /// From the head to the end of the body.
    pub body: Duration,
    /// From the moment that a client has to be waited for, until it has taken the answer.
    pub write: Duration,
    /// For what is under way when the server is asked to stop.
    pub drain: Duration,
}

impl Default for Bounds {
    fn default() -> Self {
        Bounds {
            connections: 256,
            per_address: 32,
            head: Duration::from_secs(5),
            body: Duration::from_secs(10),
            write: Duration::from_secs(10),
            drain: Duration::from_secs(30),
        }
    }
}

/// The places for connections.
pub(super) struct Places {
    free: Arc<Semaphore>,
    total: usize,
    per_address: usize,
    taken_by: Mutex<HashMap<Subject, usize>>,
}

/// A connection's place; dropping it gives it back.
pub(super) struct Place {
    _permit: OwnedSemaphorePermit,
    _of_address: Option<PlaceOfAddress>,
}

struct PlaceOfAddress {
    places: Arc<Places>,
    address: Subject,
}

impl Places {
    pub fn new(bounds: &Bounds) -> Arc<Places> {
        let total = bounds.connections.min(Semaphore::MAX_PERMITS);
        let free = Arc::new(Semaphore::new(total));
        Arc::new(Places { free, total, per_address: bounds.per_address, taken_by: Mutex::default() })
    }

    /// Waits for a place. `None`: the address has all of its places already, and gets no other.
    ///
    /// `address` is that of a client whose connections are counted; IPv6 by its /64, which is one client's.
    pub async fn take(self: &Arc<Places>, address: Option<IpAddr>) -> Option<Place> {
        let of_address = match address {
            Some(address) => Some(self.of_address(address)?),
            None => None,
        };
        let permit = Arc::clone(&self.free).acquire_owned().await.ok()?;
        Some(Place { _permit: permit, _of_address: of_address })
    }

    /// How many are taken.
    pub fn taken(&self) -> usize {
        self.total - self.free.available_permits()
    }

    /// Whether the next one has to wait.
    pub fn are_all_taken(&self) -> bool {
        self.free.available_permits() == 0
    }

    fn of_address(self: &Arc<Places>, address: IpAddr) -> Option<PlaceOfAddress> {
        let [address, _] = Subject::of_client(address);
        let mut taken_by = self.taken_by();
        let taken = taken_by.entry(address.clone()).or_default();
        if *taken >= self.per_address {
            return None;
        }
        *taken += 1;
        Some(PlaceOfAddress { places: Arc::clone(self), address })
    }

    fn taken_by(&self) -> MutexGuard<'_, HashMap<Subject, usize>> {
        self.taken_by.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for PlaceOfAddress {
    fn drop(&mut self) {
        let mut taken_by = self.places.taken_by();
        if let Some(taken) = taken_by.get_mut(&self.address) {
            *taken -= 1;
            if *taken == 0 {
                taken_by.remove(&self.address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    fn places(connections: usize, per_address: usize) -> Arc<Places> {
        Places::new(&Bounds { connections, per_address, ..Bounds::default() })
    }

    #[tokio::test]
    async fn a_connection_that_comes_when_all_places_are_taken_gets_the_next_free_one() {
        let places = places(2, 9);
        let first = places.take(None).await.unwrap();
        let _second = places.take(None).await.unwrap();
        assert!(places.are_all_taken());

        let mut third = Box::pin(places.take(None));
        assert!(third.as_mut().now_or_never().is_none());
        drop(first);
        assert!(third.await.is_some());
    }

    #[tokio::test]
    async fn one_address_has_few_places_and_gets_them_back() {
        let places = places(20, 2);
        let (one, other) = ("203.0.113.9".parse().unwrap(), "203.0.113.10".parse().unwrap());
        let first = places.take(Some(one)).await.unwrap();
        let second = places.take(Some(one)).await.unwrap();

        assert!(places.take(Some(one)).await.is_none());
        assert!(places.take(Some(other)).await.is_some());
        let inside = |nth| Some(std::net::Ipv6Addr::new(0x2001, 0xdb8, 0, 7, 0, 0, 0, nth).into());
        let both = (places.take(inside(1)).await.unwrap(), places.take(inside(2)).await.unwrap());
        assert!(places.take(inside(3)).await.is_none(), "all of a /64 is one client");
        drop(both);
        let uncounted: Vec<Place> =
            futures_util::future::join_all((0..5).map(|_| places.take(None))).await.into_iter().flatten().collect();
        assert_eq!((uncounted.len(), places.taken()), (5, 7));
        drop(first);
        assert!(places.take(Some(one)).await.is_some());
        drop(uncounted);
        drop(second);
        assert!(places.taken_by().is_empty(), "an address without connections is forgotten");
        assert_eq!(places.taken(), 0);
    }

    #[tokio::test]
    async fn a_connection_that_stops_waiting_holds_nothing() {
        let places = places(1, 1);
        let held = places.take(None).await.unwrap();
        let address = "203.0.113.9".parse().unwrap();
        assert!(places.take(Some(address)).now_or_never().is_none());

        drop(held);
        assert!(places.take(Some(address)).await.is_some());
    }
}
