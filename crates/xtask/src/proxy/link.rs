//! One connection through a proxy: two sockets, and a thread for each direction.

use std::collections::HashMap;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use nix::sys::socket::{setsockopt, sockopt};

use super::Mode;

/// How often who waits until somebody takes something, or lets a connection in, looks
/// whether that was cut.
const WRITE_TIMEOUT: Duration = Duration::from_millis(200);

/// What is read at once.
const BUFFER_BYTES: usize = 16 * 1024;

/// What all threads of a proxy share.
pub(super) struct Shared {
    state: Mutex<State>,
    /// Another mode, or a connection that was cut.
    pub(super) changed: Condvar,
}

pub(super) struct State {
    pub(super) mode: Mode,
    pub(super) target: Option<SocketAddr>,
    pub(super) stopped: bool,
    pub(super) links: HashMap<u64, Arc<Link>>,
}

/// A connection, and the one to the target that belongs to it.
pub(super) struct Link {
    client: TcpStream,
    server: OnceLock<TcpStream>,
    cut: AtomicBool,
    pub(super) stranded: AtomicBool,
}

impl Link {
    /// A connection of a client, which may be cut from the start.
    pub(super) fn new(client: TcpStream, cut: bool) -> Self {
        Self { client, server: OnceLock::new(), cut: cut.into(), stranded: false.into() }
    }

    /// Has both sides see a reset once the threads have let go of it. Whoever calls this
    /// holds the state, and tells those who wait afterwards.
    pub(super) fn cut(&self) {
        self.cut.store(true, Ordering::SeqCst);
        let at_once = nix::libc::linger { l_onoff: 1, l_linger: 0 };
        for stream in [Some(&self.client), self.server.get()].into_iter().flatten() {
            let _ = setsockopt(stream, sockopt::Linger, &at_once);
            // Wakes who reads here, and tells the other side nothing.
            let _ = stream.shutdown(Shutdown::Read);
        }
    }

    fn is_cut(&self) -> bool {
        self.cut.load(Ordering::SeqCst)
    }

    /// Fails when it was cut.
    fn check(&self) -> io::Result<()> {
        if self.is_cut() { Err(ErrorKind::ConnectionReset.into()) } else { Ok(()) }
    }
}

impl Shared {
    pub(super) fn new(target: SocketAddr) -> Self {
        let state = State {
            mode: Mode::Forward,
            target: Some(target),
            stopped: false,
            links: HashMap::new(),
        };
        Self { state: Mutex::new(state), changed: Condvar::default() }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Connects to the target, and hands on what arrives until both sides are done.
    pub(super) fn carry(&self, link: &Link) -> io::Result<()> {
        self.pass(link)?;
        let target = self.lock().target.ok_or(ErrorKind::ConnectionRefused)?;
        let server = connect(target, link)?;
        let server = link.server.get_or_init(|| server);
        for stream in [&link.client, server] {
            stream.set_nodelay(true)?;
            stream.set_write_timeout(Some(WRITE_TIMEOUT))?;
        }
        // If so, perhaps before there was a server to cut.
        link.check()?;
        std::thread::scope(|scope| {
            scope.spawn(|| self.pump(&link.client, server, link));
            self.pump(server, &link.client, link);
        });
        Ok(())
    }

    /// One direction.
    fn pump(&self, from: &TcpStream, to: &TcpStream, link: &Link) {
        let mut buffer = [0; BUFFER_BYTES];
        loop {
            match self.hand_on(from, to, link, &mut buffer) {
                Ok(true) => {}
                Ok(false) => return,
                // One side was reset, so the other is.
                Err(_) => return self.cut(link),
            }
        }
    }

    /// Hands on what arrives next. False when that was the end.
    fn hand_on(
        &self,
        mut from: &TcpStream,
        to: &TcpStream,
        link: &Link,
        buffer: &mut [u8],
    ) -> io::Result<bool> {
        let read = match from.read(buffer) {
            Err(error) if error.kind() == ErrorKind::Interrupted => return Ok(true),
            read => read?,
        };
        self.pass(link)?;
        if read == 0 {
            to.shutdown(Shutdown::Write)?;
        } else {
            write(to, &buffer[..read], link)?;
        }
        Ok(read != 0)
    }

    /// Waits until something may be handed on. Fails when the connection was cut.
    fn pass(&self, link: &Link) -> io::Result<()> {
        let mut state = self.lock();
        if let Mode::Delay(delay) = state.mode {
            let waited = self.changed.wait_timeout_while(state, delay, |_| !link.is_cut());
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        let waited = self.changed.wait_while(state, |state| {
            let stranded = link.stranded.load(Ordering::SeqCst);
            !link.is_cut() && (stranded || state.mode == Mode::BlackHole)
        });
        drop(waited.unwrap_or_else(PoisonError::into_inner));
        link.check()
    }

    /// Cuts one connection.
    pub(super) fn cut(&self, link: &Link) {
        let state = self.lock();
        link.cut();
        drop(state);
        self.changed.notify_all();
    }
}

/// Connects, however long a server lets nobody in. Fails when the connection was cut.
fn connect(target: SocketAddr, link: &Link) -> io::Result<TcpStream> {
    loop {
        match TcpStream::connect_timeout(&target, WRITE_TIMEOUT) {
            Err(error) if error.kind() == ErrorKind::TimedOut => link.check()?,
            connected => return connected,
        }
    }
}

/// Writes everything. Fails when the other side is gone, or the connection was cut.
fn write(mut to: &TcpStream, mut bytes: &[u8], link: &Link) -> io::Result<()> {
    while !bytes.is_empty() {
        match to.write(bytes) {
            Ok(written) => bytes = &bytes[written..],
            Err(error) => match error.kind() {
                ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted => {}
                _ => return Err(error),
            },
        }
        link.check()?;
    }
    Ok(())
}
