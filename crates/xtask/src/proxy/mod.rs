//! A link between two processes that tests slow down, interrupt and cut: a TCP proxy on a
//! port of its own.
//!
//! Threads, and no runtime: it can be used from any test, and keeps no core busy while
//! nothing arrives.

mod link;

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::Duration;

use self::link::{Link, Shared};

/// What happens to what arrives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// It is handed on.
    Forward,
    /// It is handed on so much later, each way, and so are connections: each round trip
    /// takes twice as much longer. What arrives meanwhile is handed on together, as late
    /// again.
    Delay(Duration),
    /// Connections are accepted, and nothing is handed on, not even that one side has
    /// nothing more to say; only a reset is. What was held back follows when the mode
    /// changes, as it does after an interruption of a network.
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
    pub fn start(target: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared::new(target));
        let of_acceptor = Arc::clone(&shared);
        let acceptor = std::thread::Builder::new()
            .name("proxy".to_owned())
            .spawn(move || accept(&of_acceptor, &listener))?;
        Ok(Self { address, shared, acceptor: Some(acceptor) })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Changes what happens from now on, to connections that there are, too.
    pub fn set(&self, mode: Mode) {
        let mut state = self.shared.lock();
        state.mode = mode;
        if mode == Mode::Reset {
            state.links.values().for_each(|link| link.cut());
        }
        drop(state);
        self.shared.changed.notify_all();
    }

    /// Says where the target is now, or that it is nowhere, and connections are reset.
    /// Those that there are stay with the one that they have.
    pub fn retarget(&self, target: Option<SocketAddr>) {
        self.shared.lock().target = target;
    }

    /// Resets all connections that there are.
    pub fn cut(&self) {
        self.shared.lock().links.values().for_each(|link| link.cut());
        self.shared.changed.notify_all();
    }

    /// Hands on nothing more on the connections that there are, whatever the mode, as a
    /// firewall does that has forgotten them.
    pub fn strand(&self) {
        let state = self.shared.lock();
        state.links.values().for_each(|link| link.stranded.store(true, Ordering::SeqCst));
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

fn accept(shared: &Arc<Shared>, listener: &TcpListener) {
    for number in 0.. {
        let accepted = listener.accept();
        let mut state = shared.lock();
        if state.stopped {
            return;
        }
        let Ok((client, _)) = accepted else {
            drop(state);
            // No descriptors, most likely; others will be closed.
            std::thread::sleep(Duration::from_millis(50));
            continue;
        };
        let link = Arc::new(Link::new(client, state.mode == Mode::Reset));
        state.links.insert(number, Arc::clone(&link));
        drop(state);
        let shared = Arc::clone(shared);
        std::thread::spawn(move || {
            if shared.carry(&link).is_err() {
                shared.cut(&link);
            }
            // The sockets are closed before nobody counts them any more.
            drop(link);
            shared.lock().links.remove(&number);
        });
    }
}

#[cfg(test)]
mod tests {
    use std::io::{ErrorKind, Read, Write};
    use std::net::Shutdown;
    use std::time::Instant;

    use nix::sys::socket::{Backlog, listen, setsockopt, sockopt};

    use super::*;

    /// How long anything that has to happen may take.
    const PATIENCE: Duration = Duration::from_secs(10);

    /// How long nothing has to happen.
    const SILENCE: Duration = Duration::from_millis(200);

    /// A server that sends everything back.
    fn echoing() -> SocketAddr {
        let (listener, address) = listening();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(stream) = stream else { return };
                std::thread::spawn(move || io::copy(&mut &stream, &mut &stream));
            }
        });
        address
    }

    fn listening() -> (TcpListener, SocketAddr) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let address = listener.local_addr().expect("an address");
        (listener, address)
    }

    /// A proxy in front of somebody who sends everything back.
    fn proxy() -> Proxy {
        Proxy::start(echoing()).expect("a proxy")
    }

    fn connected(proxy: &Proxy) -> TcpStream {
        let stream = TcpStream::connect(proxy.address()).expect("connected");
        stream.set_read_timeout(Some(PATIENCE)).expect("set");
        stream
    }

    fn say(mut stream: &TcpStream) {
        stream.write_all(b"ping").expect("sent");
    }

    fn assert_answered(mut stream: &TcpStream) {
        let mut answer = [0; 4];
        stream.read_exact(&mut answer).expect("an answer");
        assert_eq!(answer, *b"ping");
    }

    fn assert_works(stream: &TcpStream) {
        say(stream);
        assert_answered(stream);
    }

    /// Neither a byte nor an end.
    fn assert_silent(mut stream: &TcpStream) {
        stream.set_read_timeout(Some(SILENCE)).expect("set");
        let kind = stream.read(&mut [0]).expect_err("nothing comes").kind();
        assert!(matches!(kind, ErrorKind::WouldBlock | ErrorKind::TimedOut), "{kind}");
        stream.set_read_timeout(Some(PATIENCE)).expect("set");
    }

    fn assert_reset(mut stream: &TcpStream) {
        let error = io::copy(&mut stream, &mut io::sink()).expect_err("reset");
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    }

    fn until(condition: impl Fn() -> bool) {
        let started = Instant::now();
        while !condition() {
            assert!(started.elapsed() < PATIENCE, "it has not happened");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    #[test]
    fn it_hands_on_what_arrives_and_that_a_side_is_done() {
        let proxy = proxy();
        let stream = connected(&proxy);
        let sent = "0123456789".repeat(100_000).into_bytes();
        let mut answer = Vec::new();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                (&stream).write_all(&sent).expect("sent");
                stream.shutdown(Shutdown::Write).expect("done");
            });
            (&stream).read_to_end(&mut answer).expect("an answer");
        });
        assert!(answer == sent);
        until(|| proxy.connections() == 0);
    }

    #[test]
    fn each_way_takes_as_much_longer_as_it_should_and_so_does_a_connection() {
        let proxy = proxy();
        let before = connected(&proxy);
        assert_works(&before);
        let delay = Duration::from_millis(100);
        proxy.set(Mode::Delay(delay));
        let started = Instant::now();
        assert_works(&before);
        assert!(started.elapsed() >= 2 * delay, "{:?}", started.elapsed());
        let started = Instant::now();
        assert_works(&connected(&proxy));
        assert!(started.elapsed() >= 3 * delay, "{:?}", started.elapsed());
    }

    #[test]
    fn a_black_hole_accepts_and_keeps_what_arrives() {
        let proxy = proxy();
        let before = connected(&proxy);
        assert_works(&before);
        proxy.set(Mode::BlackHole);
        let during = connected(&proxy);
        for stream in [&before, &during] {
            say(stream);
            stream.shutdown(Shutdown::Write).expect("done");
            assert_silent(stream);
        }
        proxy.set(Mode::Forward);
        for stream in [&before, &during] {
            assert_answered(stream);
            assert_eq!((&mut &*stream).read(&mut [0]).expect("the end"), 0);
        }
    }

    #[test]
    fn a_side_that_is_done_is_not_told_from_a_black_hole_but_one_that_was_reset_is() {
        let (listener, address) = listening();
        let proxy = Proxy::start(address).expect("a proxy");
        for reset in [false, true] {
            let client = connected(&proxy);
            let (server, _) = listener.accept().expect("a connection");
            proxy.set(Mode::BlackHole);
            say(&client);
            assert_silent(&client);
            if reset {
                let at_once = nix::libc::linger { l_onoff: 1, l_linger: 0 };
                setsockopt(&server, sockopt::Linger, &at_once).expect("set");
                drop(server);
                assert_reset(&client);
            } else {
                drop(server);
                assert_silent(&client);
            }
            proxy.set(Mode::Forward);
        }
    }

    #[test]
    fn what_is_stranded_stays_so_and_what_comes_after_does_not() {
        let proxy = proxy();
        let before = connected(&proxy);
        assert_works(&before);
        proxy.strand();
        assert_works(&connected(&proxy));
        proxy.set(Mode::Forward);
        say(&before);
        assert_silent(&before);
    }

    #[test]
    fn what_is_cut_is_reset_even_in_a_black_hole() {
        let proxy = proxy();
        let (one, other) = (connected(&proxy), connected(&proxy));
        assert_works(&one);
        assert_works(&other);
        let cut = |stream: &TcpStream| {
            proxy.cut();
            assert_reset(stream);
            until(|| proxy.connections() == 0);
        };
        cut(&one);
        assert_reset(&other);

        let before = connected(&proxy);
        assert_works(&before);
        proxy.set(Mode::BlackHole);
        say(&before);
        assert_silent(&before);
        cut(&before);
        // One that waits before there is a server.
        let during = connected(&proxy);
        assert_silent(&during);
        cut(&during);
        proxy.set(Mode::Forward);
        assert_works(&connected(&proxy));
    }

    #[test]
    fn who_waits_for_a_side_that_does_not_read_is_cut_as_well() {
        let (listener, address) = listening();
        let proxy = Proxy::start(address).expect("a proxy");
        let mut client = connected(&proxy);
        let (_server, _) = listener.accept().expect("a connection");
        client.set_write_timeout(Some(SILENCE)).expect("set");
        let full = io::copy(&mut io::repeat(7), &mut client).expect_err("no more").kind();
        assert!(matches!(full, ErrorKind::WouldBlock | ErrorKind::TimedOut), "{full}");
        proxy.cut();
        assert_reset(&client);
    }

    #[test]
    fn who_waits_for_a_server_that_lets_nobody_in_gets_in_later_or_is_cut() {
        let (listener, address) = listening();
        listen(&listener, Backlog::new(1).expect("a number")).expect("one place");
        let direct = || TcpStream::connect_timeout(&address, SILENCE);
        let mut waiting: Vec<_> = std::iter::from_fn(|| direct().ok()).collect();
        let proxy = Proxy::start(address).expect("a proxy");
        let client = connected(&proxy);
        until(|| proxy.connections() == 1);
        // More than once asked whether it has got in.
        assert_silent(&client);
        proxy.cut();
        assert_reset(&client);

        let client = connected(&proxy);
        say(&client);
        assert_silent(&client);
        let places = waiting.len();
        waiting.clear();
        for _ in 0..places {
            listener.accept().expect("a connection");
        }
        let (server, _) = listener.accept().expect("the client's");
        assert_answered(&server);
    }

    #[test]
    fn what_resets_takes_nothing() {
        let proxy = proxy();
        let (before, held) = (connected(&proxy), connected(&proxy));
        assert_works(&before);
        assert_works(&held);
        proxy.set(Mode::BlackHole);
        say(&held);
        assert_silent(&held);
        proxy.set(Mode::Reset);
        for stream in [before, held, connected(&proxy)] {
            assert_reset(&stream);
        }
        proxy.set(Mode::Forward);
        assert_works(&connected(&proxy));
    }

    #[test]
    fn without_a_target_connections_are_reset_until_there_is_one() {
        let proxy = proxy();
        let before = connected(&proxy);
        assert_works(&before);
        for nowhere in [None, Some((Ipv4Addr::LOCALHOST, 1).into())] {
            proxy.retarget(nowhere);
            assert_reset(&connected(&proxy));
        }
        assert_works(&before);
        proxy.retarget(Some(echoing()));
        assert_works(&connected(&proxy));
    }

    #[test]
    fn without_its_proxy_nobody_listens_and_connections_are_reset() {
        let proxy = proxy();
        let address = proxy.address();
        let stream = connected(&proxy);
        assert_works(&stream);
        drop(proxy);
        assert_reset(&stream);
        let error = TcpStream::connect(address).expect_err("nobody");
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
    }
}
