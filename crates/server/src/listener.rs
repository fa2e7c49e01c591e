//! The socket that connections come from, and how it is closed without losing one.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use nix::sys::socket::sockopt::SndBuf;
use nix::sys::socket::{Backlog, listen, setsockopt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, timeout};

use crate::connections::{Connection, Connections};

/// Bytes of a response that the kernel keeps for a client who does not read; it
/// allocates twice as many. On its own it would take megabytes.
const SEND_BUFFER: usize = 64 * 1024;

/// How long a handshake that has begun may take to be done.
const HANDSHAKE: Duration = Duration::from_millis(100);

/// How long connections are taken at most after the end was decided.
const LAST_CALL: Duration = Duration::from_secs(1);

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

    /// The next connection; `None` after a failure that may pass.
    pub(crate) async fn accept(&self) -> Option<(TcpStream, Connection)> {
        match self.socket.accept().await {
            Ok((stream, client)) => Some(self.admit(stream, client).await),
            Err(error) => {
                tracing::warn!("accept: {error}");
                // No file descriptors, most likely: requests in flight will free some.
                tokio::time::sleep(Duration::from_millis(50)).await;
                None
            }
        }
    }

    async fn admit(&self, stream: TcpStream, client: SocketAddr) -> (TcpStream, Connection) {
        // Responses are written at once; there is nothing to collect.
        let _ = stream.set_nodelay(true);
        let _ = setsockopt(&stream, SndBuf, &SEND_BUFFER);
        let number = self.accepted.fetch_add(1, Ordering::Relaxed);
        (stream, self.connections.admit(client, number).await)
    }

    /// Takes the connections that are made already, and closes the socket. Returns the
    /// connections that there are.
    ///
    /// The system makes connections before they are accepted, and resets those that are
    /// not when the socket is closed. Their clients could not know whether the request
    /// was worked on. So new ones are kept out first; their clients ask once more
    /// a second later, and are refused.
    pub(crate) async fn close(
        self,
        mut take: impl FnMut(Option<(TcpStream, Connection)>),
    ) -> Arc<Connections> {
        if let Err(error) = ignore_new(&self.socket) {
            tracing::debug!("connections that are being made may be lost: {error}");
        }
        let end = Instant::now() + LAST_CALL;
        while Instant::now() < end
            && let Ok(accepted) = timeout(HANDSHAKE, self.accept()).await
        {
            take(accepted);
        }
        self.connections
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
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[tokio::test]
    async fn what_was_connected_before_the_end_is_taken_and_what_comes_later_is_refused() {
        let socket = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = socket.local_addr().expect("an address");
        let listener = Listener::new(socket, Connections::new(10)).expect("it listens");
        let mut early = Vec::new();
        for _ in 0..5 {
            early.push(TcpStream::connect(address).await.expect("connected"));
        }
        let mut taken = Vec::new();
        let late = TcpStream::connect(address);
        let close = listener.close(|accepted| taken.extend(accepted));
        // Polled first, so that it has begun to close.
        let (_connections, late) = tokio::join!(biased; close, late);
        assert_eq!(late.expect_err("refused").kind(), std::io::ErrorKind::ConnectionRefused);
        assert_eq!(taken.len(), early.len());
        for ((stream, _), client) in taken.iter_mut().zip(&mut early) {
            stream.write_all(b"a").await.expect("sent");
            assert_eq!(client.read_u8().await.expect("received"), b'a');
        }
    }
}
