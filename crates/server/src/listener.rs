//! The socket that connections come from, and how it is closed without losing one.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use nix::sys::socket::sockopt::SndBuf;
use nix::sys::socket::{Backlog, listen, setsockopt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use crate::connections::{Connection, Connections};

/// Bytes of a response that the kernel keeps for a client who does not read; it
/// allocates twice as many. On its own it would take megabytes.
const SEND_BUFFER: usize = 64 * 1024;

/// How long a handshake that has begun may take to be done.
const HANDSHAKE: Duration = Duration::from_millis(100);

/// How long connections are taken at most after the end was decided.
const LAST_CALL: Duration = Duration::from_secs(1);

/// Connections that may wait for room after the end was decided, beyond the bound: so
/// many files and sockets can be spared.
const WAITING_ROOM: usize = 32;

/// What came from the socket, and is not admitted yet.
pub(crate) struct Accepted {
    stream: TcpStream,
    client: SocketAddr,
    number: u64,
}

/// A listening socket, and the connections that came from it.
pub(crate) struct Listener {
    socket: TcpListener,
    connections: Arc<Connections>,
    accepted: AtomicU64,
}

impl Listener {
    /// Tokio's queue has 128 places: a burst of connections fills it before the next
    /// is accepted, and then whoever comes is not heard for a second. This one has more.
    pub(crate) fn new(socket: TcpListener, connections: Arc<Connections>) -> std::io::Result<Self> {
        listen(&socket, Backlog::MAXCONN)?;
        Ok(Self { socket, connections, accepted: AtomicU64::new(0) })
    }

    /// Takes connections until the end. Returns the one that waits for room then: its
    /// client takes it for made, and may have sent a request.
    pub(crate) async fn take_until(
        &self,
        end: &CancellationToken,
        take: impl Fn(TcpStream, Connection),
    ) -> Option<Accepted> {
        loop {
            let accepted = tokio::select! {
                accepted = self.accept() => accepted,
                () = end.cancelled() => return None,
            };
            let Some(accepted) = accepted else {
                continue;
            };
            tokio::select! {
                connection = self.connections.admit(accepted.client, accepted.number) => {
                    take(accepted.stream, connection);
                }
                () = end.cancelled() => return Some(accepted),
            }
        }
    }

    /// The next connection; `None` after a failure that may pass. None is lost when this
    /// is not waited for.
    async fn accept(&self) -> Option<Accepted> {
        match self.socket.accept().await {
            Ok((stream, client)) => {
                // Responses are written at once; there is nothing to collect.
                let _ = stream.set_nodelay(true);
                let _ = setsockopt(&stream, SndBuf, &SEND_BUFFER);
                let number = self.accepted.fetch_add(1, Ordering::Relaxed);
                Some(Accepted { stream, client, number })
            }
            Err(error) => {
                tracing::warn!("accept: {error}");
                // No file descriptors, most likely: requests in flight will free some.
                tokio::time::sleep(Duration::from_millis(50)).await;
                None
            }
        }
    }

    /// Takes the connections that are made already, `waiting` first, and closes the
    /// socket. That does not wait until there is room for them.
    ///
    /// The system makes connections before they are accepted, and resets those that are
    /// not when the socket is closed. Their clients could not know whether the request
    /// was worked on. So new ones are kept out first; their clients ask once more
    /// a second later, and are refused.
    pub(crate) async fn close(
        self,
        waiting: Option<Accepted>,
        take: impl Fn(TcpStream, Connection),
    ) {
        if let Err(error) = ignore_new(&self.socket) {
            tracing::debug!("connections that are being made may be lost: {error}");
        }
        let connections = Arc::clone(&self.connections);
        let (made, mut to_admit) = mpsc::channel(WAITING_ROOM);
        // Nothing that was accepted is lost: the other side receives until this is over.
        let accept = async move {
            let end = Instant::now() + LAST_CALL;
            if let Some(waiting) = waiting {
                let _ = made.send(waiting).await;
            }
            while Instant::now() < end
                && let Ok(accepted) = timeout(HANDSHAKE, self.accept()).await
            {
                if let Some(accepted) = accepted {
                    let _ = made.send(accepted).await;
                }
            }
            drop((self, made));
        };
        let admit = async {
            while let Some(Accepted { stream, client, number }) = to_admit.recv().await {
                take(stream, connections.admit(client, number).await);
            }
        };
        tokio::join!(accept, admit);
    }
}

/// Has the system drop whatever would begin a connection: what has SYN set, and not ACK.
#[cfg(target_os = "linux")]
fn ignore_new(socket: &TcpListener) -> std::io::Result<()> {
    use nix::libc::{BPF_ABS, BPF_ALU, BPF_AND, BPF_B, BPF_JEQ, BPF_JMP, BPF_K, BPF_LD, BPF_RET};
    use socket2::{SockFilter, SockRef};
    /// Where the flags are in the head of TCP.
    const FLAGS: u32 = 13;
    const SYN: u32 = 0x02;
    const ACK: u32 = 0x10;
    let instruction = |code: u32, if_true, if_false, operand| {
        // The codes are all below 256.
        SockFilter::new(u16::try_from(code).unwrap_or_default(), if_true, if_false, operand)
    };
    SockRef::from(socket).attach_filter(&[
        instruction(BPF_LD | BPF_B | BPF_ABS, 0, 0, FLAGS),
        instruction(BPF_ALU | BPF_AND | BPF_K, 0, 0, SYN | ACK),
        instruction(BPF_JMP | BPF_JEQ | BPF_K, 0, 1, SYN),
        instruction(BPF_RET | BPF_K, 0, 0, 0),
        instruction(BPF_RET | BPF_K, 0, 0, u32::MAX),
    ])
}

/// Other systems have no such filter.
#[cfg(not(target_os = "linux"))]
fn ignore_new(_socket: &TcpListener) -> std::io::Result<()> {
    Err(std::io::ErrorKind::Unsupported.into())
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    async fn assert_refused(address: SocketAddr) {
        let late = TcpStream::connect(address).await;
        assert_eq!(late.expect_err("refused").kind(), std::io::ErrorKind::ConnectionRefused);
    }

    async fn assert_connected(stream: &mut TcpStream, client: &mut TcpStream) {
        stream.write_all(b"a").await.expect("sent");
        assert_eq!(client.read_u8().await.expect("received"), b'a');
    }

    #[tokio::test]
    async fn what_was_connected_before_the_end_is_taken_and_what_comes_later_is_refused() {
        let socket = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = socket.local_addr().expect("an address");
        let listener = Listener::new(socket, Connections::new(10)).expect("it listens");
        let mut early = Vec::new();
        for _ in 0..5 {
            early.push(TcpStream::connect(address).await.expect("connected"));
        }
        let taken = Mutex::new(Vec::new());
        let close = listener.close(None, |stream, connection| {
            taken.lock().expect("unpoisoned").push((stream, connection));
        });
        // Polled first, so that it has begun to close.
        tokio::join!(biased; close, assert_refused(address));
        let mut taken = taken.into_inner().expect("unpoisoned");
        assert_eq!(taken.len(), early.len());
        for ((stream, _), client) in taken.iter_mut().zip(&mut early) {
            assert_connected(stream, client).await;
        }
    }

    #[tokio::test]
    async fn what_waits_for_room_at_the_end_gets_it() {
        let socket = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = socket.local_addr().expect("an address");
        let connections = Connections::new(1);
        let listener = Listener::new(socket, Arc::clone(&connections)).expect("it listens");
        let occupant = connections.admit(address, u64::MAX).await;
        let mut clients = Vec::new();
        for _ in 0..3 {
            clients.push(TcpStream::connect(address).await.expect("connected"));
        }
        let taken = Mutex::new(Vec::new());
        let (end, over) = (CancellationToken::new(), CancellationToken::new());
        let take = |stream, connection: Connection| {
            taken.lock().expect("unpoisoned").push(stream);
            drop(connection);
        };
        let serve = async {
            let waiting = listener.take_until(&end, &take).await;
            listener.close(waiting, &take).await;
            over.cancel();
        };
        let occupied = async {
            // The first client waits for room once this one is asked to make it.
            occupant.has_to_close().await;
            end.cancel();
            let mut before_the_end = Vec::new();
            while let Ok(client) = TcpStream::connect(address).await {
                before_the_end.push(client);
            }
            assert!(taken.lock().expect("unpoisoned").is_empty() && !over.is_cancelled());
            drop(occupant);
            before_the_end
        };
        let ((), before_the_end) = tokio::join!(serve, occupied);
        clients.extend(before_the_end);
        let mut taken = taken.into_inner().expect("unpoisoned");
        assert_eq!(taken.len(), clients.len());
        for (stream, client) in taken.iter_mut().zip(&mut clients) {
            assert_connected(stream, client).await;
        }
    }
}
