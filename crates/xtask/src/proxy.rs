//! A link between two processes that tests can slow down, interrupt and cut: a TCP
//! proxy on a port of its own.
//!
//! Threads, and no runtime: it can be used from any test, and keeps no core busy while
//! nothing arrives.

use std::collections::HashMap;
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nix::sys::socket::{setsockopt, sockopt};

/// How often a write to somebody who does not read looks whether it was cut.
const WRITE_TIMEOUT: Duration = Duration::from_millis(200);

/// What happens to what arrives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// It is handed on.
    Forward,
    /// It is handed on, to the server so much later: each round trip takes so much
    /// longer. What arrives meanwhile is handed on together, as late again.
    Delay(Duration),
    /// Connections are accepted, and nothing is handed on, not even that one side has
    /// closed. What was held back follows when the mode changes, as it does after an
    /// interruption of a network.
    BlackHole,
    /// Every connection is reset, those that there are and those that are made.
    Reset,
}

/// A proxy. Dropped, it closes its port and resets its connections.
pub struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    acceptor: Option<JoinHandle<()>>,
}

impl Proxy {
    /// Listens on a free port of 127.0.0.1. Nothing has to listen at the target yet.
    ///
    /// # Errors
    ///
    /// When there is no free port.
    pub fn start(target: SocketAddr) -> std::io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = listener.local_addr()?;
        let state = State { mode: Mode::Forward, stopped: false, links: HashMap::new() };
        let shared =
            Arc::new(Shared { target, state: Mutex::new(state), changed: Condvar::default() });
        let of_acceptor = Arc::clone(&shared);
        let acceptor = std::thread::Builder::new()
            .name("proxy".to_owned())
            .spawn(move || of_acceptor.accept(&listener))?;
        Ok(Self { address, shared, acceptor: Some(acceptor) })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Changes what happens from now on, to connections that there are, too.
    pub fn set(&self, mode: Mode) {
        self.shared.lock().mode = mode;
        self.shared.changed.notify_all();
        if mode == Mode::Reset {
            self.cut();
        }
    }

    /// Resets all connections that there are.
    pub fn cut(&self) {
        let links: Vec<Arc<Link>> = self.shared.lock().links.values().cloned().collect();
        for link in &links {
            self.shared.cut(link);
        }
    }

    /// Hands on nothing more on the connections that there are, whatever the mode, as a
    /// firewall does that has forgotten them.
    pub fn strand(&self) {
        let state = self.shared.lock();
        for link in state.links.values() {
            link.stranded.store(true, Ordering::SeqCst);
        }
    }

    /// How many connections there are now.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.shared.lock().links.len()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.lock().stopped = true;
        // The acceptor looks at it after the next connection.
        let woken = TcpStream::connect(self.address);
        self.cut();
        if let (Ok(_), Some(acceptor)) = (woken, self.acceptor.take()) {
            let _ = acceptor.join();
        }
    }
}

/// What all threads of a proxy share.
struct Shared {
    target: SocketAddr,
    state: Mutex<State>,
    /// Another mode, or a connection that was cut.
    changed: Condvar,
}

struct State {
    mode: Mode,
    stopped: bool,
    links: HashMap<u64, Arc<Link>>,
}

/// A connection, and the one to the target that belongs to it.
struct Link {
    client: TcpStream,
    server: OnceLock<TcpStream>,
    cut: AtomicBool,
    stranded: AtomicBool,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn accept(self: &Arc<Self>, listener: &TcpListener) {
        for number in 0.. {
            let accepted = listener.accept();
            let mut state = self.lock();
            if state.stopped {
                return;
            }
            let Ok((client, _)) = accepted else {
                drop(state);
                // No descriptors, most likely; others will be closed.
                std::thread::sleep(Duration::from_millis(50));
                continue;
            };
            let link = Arc::new(Link {
                client,
                server: OnceLock::new(),
                cut: false.into(),
                stranded: false.into(),
            });
            if state.mode == Mode::Reset {
                drop(state);
                self.cut(&link);
                continue;
            }
            state.links.insert(number, Arc::clone(&link));
            drop(state);
            let shared = Arc::clone(self);
            std::thread::spawn(move || {
                shared.carry(&link);
                // The sockets are closed before nobody counts them any more.
                drop(link);
                shared.lock().links.remove(&number);
            });
        }
    }

    /// Connects to the target, and hands on what arrives until both sides are done.
    fn carry(self: &Arc<Self>, link: &Arc<Link>) {
        if !self.may_pass(link, false) {
            return;
        }
        let Ok(server) = TcpStream::connect(self.target) else {
            return self.cut(link);
        };
        let server = link.server.get_or_init(|| server);
        for stream in [&link.client, server] {
            let _ = stream.set_nodelay(true);
            let _ = stream.set_write_timeout(Some(WRITE_TIMEOUT));
        }
        std::thread::scope(|scope| {
            scope.spawn(|| self.pump(&link.client, server, link, true));
            self.pump(server, &link.client, link, false);
        });
    }

    fn pump(&self, mut from: &TcpStream, to: &TcpStream, link: &Link, to_server: bool) {
        let mut buffer = [0; 16 * 1024];
        loop {
            let read = from.read(&mut buffer);
            if !self.may_pass(link, to_server) {
                return;
            }
            match read {
                Ok(0) => {
                    let _ = to.shutdown(Shutdown::Write);
                    return;
                }
                Ok(read) if write(to, &buffer[..read], link) => {}
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                // One side was reset, so the other is.
                Ok(_) | Err(_) => return self.cut(link),
            }
        }
    }

    /// Waits until something may be handed on. False when the connection was cut.
    fn may_pass(&self, link: &Link, to_server: bool) -> bool {
        let arrived = Instant::now();
        let mut state = self.lock();
        loop {
            if link.cut.load(Ordering::SeqCst) {
                return false;
            }
            let stranded = link.stranded.load(Ordering::SeqCst);
            let left = match state.mode {
                _ if stranded => Duration::MAX,
                Mode::Delay(delay) if to_server => delay.saturating_sub(arrived.elapsed()),
                Mode::BlackHole => Duration::MAX,
                Mode::Forward | Mode::Delay(_) | Mode::Reset => Duration::ZERO,
            };
            if left.is_zero() {
                return true;
            }
            state = if left == Duration::MAX {
                self.changed.wait(state).unwrap_or_else(PoisonError::into_inner)
            } else {
                let waited = self.changed.wait_timeout(state, left);
                waited.unwrap_or_else(PoisonError::into_inner).0
            };
        }
    }

    /// Has both sides of a connection see a reset once its threads have let go of it.
    fn cut(&self, link: &Link) {
        let guard = self.lock();
        link.cut.store(true, Ordering::SeqCst);
        drop(guard);
        self.changed.notify_all();
        let at_once = nix::libc::linger { l_onoff: 1, l_linger: 0 };
        for stream in [Some(&link.client), link.server.get()].into_iter().flatten() {
            let _ = setsockopt(stream, sockopt::Linger, &at_once);
            // Wakes who reads here, and tells the other side nothing.
            let _ = stream.shutdown(Shutdown::Read);
        }
    }
}

/// Writes everything. False when the other side is gone, or the connection was cut.
fn write(mut to: &TcpStream, mut bytes: &[u8], link: &Link) -> bool {
    while !bytes.is_empty() {
        match to.write(bytes) {
            Ok(written) => bytes = &bytes[written..],
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                if link.cut.load(Ordering::SeqCst) {
                    return false;
                }
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(_) => return false,
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A proxy in front of somebody who sends everything back.
    fn proxy() -> Proxy {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let target = listener.local_addr().expect("an address");
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(stream) = stream else { return };
                std::thread::spawn(move || std::io::copy(&mut &stream, &mut &stream));
            }
        });
        Proxy::start(target).expect("a proxy")
    }

    fn connect(proxy: &Proxy) -> TcpStream {
        let stream = TcpStream::connect(proxy.address()).expect("connected");
        stream.set_read_timeout(Some(Duration::from_millis(200))).expect("set");
        stream
    }

    fn echo(stream: &mut TcpStream) -> std::io::Result<[u8; 4]> {
        stream.write_all(b"ping")?;
        let mut answer = [0; 4];
        stream.read_exact(&mut answer)?;
        Ok(answer)
    }

    fn until(condition: impl Fn() -> bool) {
        let started = Instant::now();
        while !condition() {
            assert!(started.elapsed() < Duration::from_secs(10), "it has not happened");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    #[test]
    fn it_hands_on_what_arrives_and_that_a_side_is_done() {
        let proxy = proxy();
        let mut stream = connect(&proxy);
        let sent = vec![7; 100_000];
        stream.write_all(&sent).expect("sent");
        stream.shutdown(Shutdown::Write).expect("done");
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).expect("an answer");
        assert_eq!(answer, sent);
        until(|| proxy.connections() == 0);
    }

    #[test]
    fn a_round_trip_takes_as_much_longer_as_it_should() {
        let proxy = proxy();
        let mut stream = connect(&proxy);
        proxy.set(Mode::Delay(Duration::from_millis(100)));
        let started = Instant::now();
        assert_eq!(echo(&mut stream).expect("an answer"), *b"ping");
        assert!(started.elapsed() >= Duration::from_millis(100), "{:?}", started.elapsed());
    }

    #[test]
    fn a_black_hole_accepts_and_keeps_what_arrives() {
        let proxy = proxy();
        let mut before = connect(&proxy);
        echo(&mut before).expect("an answer");
        proxy.set(Mode::BlackHole);
        let mut during = connect(&proxy);
        for stream in [&mut before, &mut during] {
            let kind = echo(stream).expect_err("no answer").kind();
            assert!(matches!(kind, ErrorKind::WouldBlock | ErrorKind::TimedOut), "{kind}");
        }
        proxy.set(Mode::Forward);
        for stream in [&mut before, &mut during] {
            stream.set_read_timeout(Some(Duration::from_secs(10))).expect("set");
            let mut answer = [0; 4];
            stream.read_exact(&mut answer).expect("what was held back");
            assert_eq!(answer, *b"ping");
        }
    }

    #[test]
    fn what_is_stranded_stays_so_and_what_comes_after_does_not() {
        let proxy = proxy();
        let mut before = connect(&proxy);
        echo(&mut before).expect("an answer");
        proxy.strand();
        echo(&mut connect(&proxy)).expect("an answer");
        proxy.set(Mode::Forward);
        let kind = echo(&mut before).expect_err("no answer").kind();
        assert!(matches!(kind, ErrorKind::WouldBlock | ErrorKind::TimedOut), "{kind}");
    }

    #[test]
    fn what_is_cut_is_reset_even_in_a_black_hole() {
        let proxy = proxy();
        for mode in [Mode::Forward, Mode::BlackHole] {
            let mut stream = connect(&proxy);
            echo(&mut stream).expect("an answer");
            proxy.set(mode);
            stream.write_all(b"ping").expect("sent");
            proxy.cut();
            stream.set_read_timeout(Some(Duration::from_secs(10))).expect("set");
            let kind = std::io::copy(&mut stream, &mut std::io::sink()).expect_err("cut").kind();
            assert_eq!(kind, ErrorKind::ConnectionReset);
            until(|| proxy.connections() == 0);
            proxy.set(Mode::Forward);
        }
        echo(&mut connect(&proxy)).expect("a new connection is as good as ever");
    }

    #[test]
    fn what_resets_takes_nothing_and_what_nobody_listens_behind_neither() {
        let nobody = Proxy::start((Ipv4Addr::LOCALHOST, 1).into()).expect("a proxy");
        let proxy = proxy();
        let mut before = connect(&proxy);
        echo(&mut before).expect("an answer");
        proxy.set(Mode::Reset);
        for mut stream in [before, connect(&proxy), connect(&nobody)] {
            stream.set_read_timeout(Some(Duration::from_secs(10))).expect("set");
            let kind = stream.read(&mut [0]).expect_err("reset").kind();
            assert_eq!(kind, ErrorKind::ConnectionReset);
        }
    }
}
