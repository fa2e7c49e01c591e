//! The connections of a server, and which of them gives way when there are too many.
//!
//! A connection waits for its client until a whole request is there, and again once
//! that is answered. One that waits costs a client nothing, so there can be more of
//! them than a server has room for; then the one that has waited longest makes room,
//! of the network that has most of them. A client that sends its request in one go
//! waits for no time worth speaking of, and hardly ever is that one.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::registry::Registry;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

/// How long a connection may wait for its client, whatever it waits for: more than
/// head and body may take, so that it ends those that don't read what they are sent.
const PATIENCE: Duration = Duration::from_secs(30);

/// How often another connection is asked to give way while there is no room.
const RETRY: Duration = Duration::from_millis(50);

/// All connections of a server.
pub(crate) struct Connections {
    most: usize,
    places: Arc<Semaphore>,
    /// Those that had to give way.
    evicted: Counter,
    waiting: Mutex<HashMap<IpAddr, Queue>>,
}

/// The connections of a network that wait for their clients, the longest first.
type Queue = BTreeMap<Since, CancellationToken>;

/// Since when, and a number that no other connection has.
type Since = (Instant, u64);

impl Connections {
    pub(crate) fn new(most: usize) -> Arc<Self> {
        Arc::new(Self {
            most,
            places: Arc::new(Semaphore::new(most)),
            evicted: Counter::default(),
            waiting: Mutex::default(),
        })
    }

    /// Connections that there are, and how many there may be.
    pub(crate) fn open(&self) -> (usize, usize) {
        (self.most - self.places.available_permits(), self.most)
    }

    pub(crate) fn register(&self, registry: &mut Registry) {
        let help = "Connections that were closed to make room for others";
        registry.register("http_connections_evicted", help, self.evicted.clone());
    }

    /// Takes a new connection in; another one may have to go.
    pub(crate) async fn admit(self: &Arc<Self>, client: SocketAddr, number: u64) -> Connection {
        let place = self.place().await;
        let connection = Connection {
            all: Arc::clone(self),
            client,
            number,
            closing: CancellationToken::new(),
            waiting_since: Mutex::default(),
            _place: place,
        };
        connection.wait_for_client();
        connection
    }

    /// Returns when there is none any more. None may be admitted meanwhile.
    pub(crate) async fn all_closed(&self) {
        let all = u32::try_from(self.most).unwrap_or(u32::MAX);
        // It is never closed.
        let _ = self.places.acquire_many(all).await;
    }

    async fn place(&self) -> OwnedSemaphorePermit {
        loop {
            if let Ok(place) = Arc::clone(&self.places).try_acquire_owned() {
                return place;
            }
            self.make_room();
            let place = timeout(RETRY, Arc::clone(&self.places).acquire_owned()).await;
            if let Ok(Ok(place)) = place {
                return place;
            }
        }
    }

    fn make_room(&self) {
        let mut waiting = lock(&self.waiting);
        let largest = waiting.values_mut().max_by_key(|queue| queue.len());
        if let Some((_, closing)) = largest.and_then(BTreeMap::pop_first) {
            closing.cancel();
            self.evicted.inc();
        }
    }
}

/// One connection. Its place is free again when this is dropped.
pub(crate) struct Connection {
    all: Arc<Connections>,
    client: SocketAddr,
    number: u64,
    closing: CancellationToken,
    waiting_since: Mutex<Option<Since>>,
    _place: OwnedSemaphorePermit,
}

impl Connection {
    pub(crate) fn client(&self) -> SocketAddr {
        self.client
    }

    /// A whole request is there. Until the guard is dropped the connection waits for
    /// this server, and neither gives way nor times out.
    pub(crate) fn serve(&self) -> Serving<'_> {
        self.stop_waiting();
        Serving(self)
    }

    /// Returns when the connection has to be closed.
    pub(crate) async fn has_to_close(&self) {
        tokio::select! {
            () = self.closing.cancelled() => {}
            () = self.waits_too_long() => {}
        }
    }

    async fn waits_too_long(&self) {
        loop {
            let now = Instant::now();
            let since = lock(&self.waiting_since).map_or(now, |(since, _)| since);
            if now >= since + PATIENCE {
                return;
            }
            tokio::time::sleep_until(since + PATIENCE).await;
        }
    }

    fn wait_for_client(&self) {
        let since = (Instant::now(), self.number);
        *lock(&self.waiting_since) = Some(since);
        let mut waiting = lock(&self.all.waiting);
        waiting.entry(self.network()).or_default().insert(since, self.closing.clone());
    }

    fn stop_waiting(&self) {
        let Some(since) = lock(&self.waiting_since).take() else {
            return;
        };
        let mut waiting = lock(&self.all.waiting);
        if let Some(queue) = waiting.get_mut(&self.network()) {
            queue.remove(&since);
            if queue.is_empty() {
                waiting.remove(&self.network());
            }
        }
    }

    /// What one customer has of addresses, as it is for wrong passwords (ADR 0014).
    fn network(&self) -> IpAddr {
        match self.client.ip().to_canonical() {
            IpAddr::V6(address) => Ipv6Addr::from(u128::from(address) >> 64 << 64).into(),
            address @ IpAddr::V4(_) => address,
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.stop_waiting();
    }
}

/// A connection that waits for this server.
pub(crate) struct Serving<'a>(&'a Connection);

impl Drop for Serving<'_> {
    fn drop(&mut self) {
        self.0.wait_for_client();
    }
}

/// No code panics while it holds one of these locks.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> SocketAddr {
        SocketAddr::new(text.parse().expect("an address"), 1)
    }

    async fn admitted(connections: &Arc<Connections>, clients: &[&str]) -> Vec<Connection> {
        let mut admitted = Vec::new();
        for (number, client) in (0..).zip(clients) {
            admitted.push(connections.admit(address(client), number).await);
            tokio::time::advance(Duration::from_millis(1)).await;
        }
        admitted
    }

    fn closing(connections: &[Connection]) -> Vec<usize> {
        (0..connections.len()).filter(|index| connections[*index].closing.is_cancelled()).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn the_one_that_waits_longest_of_the_largest_network_gives_way() {
        let connections = Connections::new(5);
        // The two IPv6 addresses are one network; the mapped one is an IPv4 address.
        let clients =
            ["192.0.2.1", "2001:db8::1", "::ffff:192.0.2.2", "2001:db8::ffff", "192.0.2.2"];
        let all = admitted(&connections, &clients).await;
        connections.make_room();
        assert_eq!(closing(&all).len(), 1);
        connections.make_room();
        assert_eq!((connections.open(), connections.evicted.get()), ((5, 5), 2));
        // Which of two networks of the same size is first is not said.
        assert_eq!(closing(&all), [1, 2]);
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_is_served_stays_and_then_is_the_last_to_go() {
        let connections = Connections::new(3);
        let all = admitted(&connections, &["192.0.2.1"; 3]).await;
        let serving = all[0].serve();
        connections.make_room();
        assert_eq!(closing(&all), [1]);
        drop(serving);
        connections.make_room();
        assert_eq!(closing(&all), [1, 2]);
        connections.make_room();
        assert_eq!(closing(&all), [0, 1, 2]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_new_one_has_its_place_once_another_is_gone() {
        let connections = Connections::new(1);
        let first = connections.admit(address("192.0.2.1"), 1).await;
        let second = connections.admit(address("192.0.2.2"), 2);
        let first_goes = async {
            first.has_to_close().await;
            assert!(connections.places.available_permits() == 0);
            drop(first);
        };
        let (second, ()) = tokio::join!(second, first_goes);
        assert!(!second.closing.is_cancelled());
        assert_eq!(lock(&connections.waiting).len(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn it_waits_so_long_and_no_longer() {
        let connections = Connections::new(1);
        let started = Instant::now();
        let connection = connections.admit(address("192.0.2.1"), 1).await;
        let serving = async {
            tokio::time::sleep(PATIENCE / 2).await;
            let serving = connection.serve();
            tokio::time::sleep(PATIENCE * 3).await;
            drop(serving);
        };
        tokio::join!(connection.has_to_close(), serving);
        assert_eq!(started.elapsed(), PATIENCE / 2 + PATIENCE * 3 + PATIENCE);
    }
}
