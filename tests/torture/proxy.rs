//! A TCP proxy between two processes, which cuts, swallows or delays what they say.

use std::future::pending;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::sleep;

/// What is read at once.
const BUFFER_BYTES: usize = 16 * 1024;

/// What the link does with bytes and connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Link {
    /// Passes them on.
    Open,
    /// Resets every connection, old and new.
    Cut,
    /// Takes them and passes nothing on, until it is open again. Then what was taken
    /// arrives, late: as it is with a network that comes back.
    BlackHole,
    /// Passes each piece on after so long.
    Slow(Duration),
}

/// What the connections of a proxy go by.
#[derive(Debug, Clone, Copy)]
struct Way {
    link: Link,
    /// Nobody, while the server is known to be down.
    target: Option<SocketAddr>,
}

/// A listening proxy with one server behind it. Ends, with its connections, when it is
/// dropped.
pub(crate) struct Proxy {
    address: SocketAddr,
    way: watch::Sender<Way>,
    accepting: JoinHandle<()>,
}

impl Proxy {
    /// Listens on a port of its own.
    ///
    /// # Errors
    ///
    /// When there is no port.
    pub(crate) async fn start(target: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let (way, ways) = watch::channel(Way { link: Link::Open, target: Some(target) });
        Ok(Self { address, way, accepting: tokio::spawn(accept(listener, ways)) })
    }

    /// Where clients of the server go instead.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Changes what the link does, for connections that are there as well.
    pub(crate) fn set(&self, link: Link) {
        self.way.send_modify(|way| way.link = link);
    }

    /// Says where the server is now, or that it is nowhere. Connections that are there
    /// stay with the one that they have.
    pub(crate) fn retarget(&self, target: Option<SocketAddr>) {
        self.way.send_modify(|way| way.target = target);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept(listener: TcpListener, way: watch::Receiver<Way>) {
    loop {
        // What fails here has failed for its client alone.
        if let Ok((client, _)) = listener.accept().await {
            tokio::spawn(carry(client, way.clone()));
        }
    }
}

/// One connection, to its end.
async fn carry(mut client: TcpStream, way: watch::Receiver<Way>) {
    let mut server = None;
    let ended = tokio::select! {
        () = cut(way.clone()) => false,
        result = exchange(&mut client, &mut server, &way) => result.is_ok(),
    };
    if !ended {
        for stream in [Some(client), server].into_iter().flatten() {
            // A reset, not an orderly end. Without it the connection still closes.
            let _ = stream.set_zero_linger();
        }
    }
}

/// Waits until the link is cut, or the proxy is gone.
async fn cut(mut way: watch::Receiver<Way>) {
    let _ = way.wait_for(|way| way.link == Link::Cut).await;
}

/// Connects and passes on, until both sides have ended.
async fn exchange(
    client: &mut TcpStream,
    server: &mut Option<TcpStream>,
    way: &watch::Receiver<Way>,
) -> io::Result<()> {
    pass(way).await;
    let target = way.borrow().target.ok_or(io::ErrorKind::ConnectionRefused)?;
    let server = server.insert(TcpStream::connect(target).await?);
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let (from_client, to_client) = client.split();
    let (from_server, to_server) = server.split();
    tokio::try_join!(
        pump(from_client, to_server, way.clone()),
        pump(from_server, to_client, way.clone()),
    )?;
    Ok(())
}

/// One direction.
async fn pump(
    mut from: ReadHalf<'_>,
    mut to: WriteHalf<'_>,
    way: watch::Receiver<Way>,
) -> io::Result<()> {
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        let read = from.read(&mut buffer).await?;
        pass(&way).await;
        if read == 0 {
            return to.shutdown().await;
        }
        to.write_all(&buffer[..read]).await?;
    }
}

/// Waits until something may pass.
async fn pass(way: &watch::Receiver<Way>) {
    let link = way.borrow().link;
    match link {
        Link::Open => {}
        Link::Slow(delay) => sleep(delay).await,
        Link::Cut | Link::BlackHole => {
            let mut way = way.clone();
            let passable = |way: &Way| !matches!(way.link, Link::Cut | Link::BlackHole);
            if way.wait_for(passable).await.is_err() {
                // The proxy is gone, and `carry` ends this.
                pending::<()>().await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;

    use tokio::time::{Instant, timeout};

    use super::*;

    /// How long anything that has to happen may take.
    const PATIENCE: Duration = Duration::from_secs(10);

    /// How long nothing has to happen.
    const SILENCE: Duration = Duration::from_millis(300);

    /// A server that sends back what it gets.
    async fn echo() -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let (mut from, mut to) = stream.split();
                    let _ = tokio::io::copy(&mut from, &mut to).await;
                });
            }
        });
        address
    }

    async fn in_time<T>(what: impl Future<Output = T>) -> T {
        timeout(PATIENCE, what).await.expect("in time")
    }

    async fn say(stream: &mut TcpStream, text: &str) {
        in_time(stream.write_all(text.as_bytes())).await.expect("sent");
    }

    async fn hear(stream: &mut TcpStream, bytes: usize) -> io::Result<String> {
        let mut buffer = vec![0; bytes];
        in_time(stream.read_exact(&mut buffer)).await?;
        Ok(String::from_utf8(buffer).expect("text"))
    }

    async fn connected() -> (Proxy, TcpStream) {
        let proxy = Proxy::start(echo().await).await.expect("a proxy");
        let mut stream = TcpStream::connect(proxy.address()).await.expect("connected");
        say(&mut stream, "ping").await;
        assert_eq!(hear(&mut stream, 4).await.expect("an echo"), "ping");
        (proxy, stream)
    }

    fn is_reset(result: io::Result<String>) -> bool {
        result.is_err_and(|error| error.kind() == io::ErrorKind::ConnectionReset)
    }

    #[tokio::test]
    async fn open_passes_on_and_ends_in_order() {
        let (_proxy, mut stream) = connected().await;
        let long = "0123456789".repeat(100_000);
        let (mut from, mut to) = stream.split();
        let mut heard = Vec::new();
        let (sent, read) = in_time(async {
            tokio::join!(
                async {
                    to.write_all(long.as_bytes()).await?;
                    to.shutdown().await
                },
                from.read_to_end(&mut heard)
            )
        })
        .await;
        sent.expect("sent");
        assert_eq!(read.expect("the end"), long.len());
        assert!(heard == long.as_bytes());
    }

    #[tokio::test]
    async fn cut_resets_old_and_new_connections() {
        let (proxy, mut old) = connected().await;
        proxy.set(Link::Cut);
        assert!(is_reset(hear(&mut old, 1).await));
        let mut new = TcpStream::connect(proxy.address()).await.expect("accepted");
        assert!(is_reset(hear(&mut new, 1).await));
        proxy.set(Link::Open);
        let mut again = TcpStream::connect(proxy.address()).await.expect("connected");
        say(&mut again, "ping").await;
        assert_eq!(hear(&mut again, 4).await.expect("an echo"), "ping");
    }

    #[tokio::test]
    async fn a_black_hole_takes_everything_and_gives_it_back_late() {
        let (proxy, mut old) = connected().await;
        proxy.set(Link::BlackHole);
        let mut new = TcpStream::connect(proxy.address()).await.expect("connected");
        say(&mut old, "late").await;
        say(&mut new, "new").await;
        let mut byte = [0];
        assert!(timeout(SILENCE, old.read(&mut byte)).await.is_err(), "nothing comes");
        assert!(timeout(SILENCE, new.read(&mut byte)).await.is_err(), "nothing comes");
        proxy.set(Link::Open);
        assert_eq!(hear(&mut old, 4).await.expect("an echo"), "late");
        assert_eq!(hear(&mut new, 3).await.expect("an echo"), "new");
    }

    #[tokio::test]
    async fn a_black_hole_can_be_cut() {
        let (proxy, mut stream) = connected().await;
        proxy.set(Link::BlackHole);
        say(&mut stream, "lost").await;
        proxy.set(Link::Cut);
        assert!(is_reset(hear(&mut stream, 1).await));
    }

    #[tokio::test]
    async fn slow_delays_each_way() {
        let (proxy, mut stream) = connected().await;
        let delay = Duration::from_millis(100);
        proxy.set(Link::Slow(delay));
        let started = Instant::now();
        say(&mut stream, "ping").await;
        assert_eq!(hear(&mut stream, 4).await.expect("an echo"), "ping");
        assert!(started.elapsed() >= 2 * delay, "{:?}", started.elapsed());
    }

    #[tokio::test]
    async fn without_a_server_connections_are_reset_until_there_is_one() {
        let (proxy, mut old) = connected().await;
        proxy.retarget(None);
        let mut new = TcpStream::connect(proxy.address()).await.expect("accepted");
        assert!(is_reset(hear(&mut new, 1).await));
        say(&mut old, "ping").await;
        assert_eq!(hear(&mut old, 4).await.expect("an echo"), "ping");
        proxy.retarget(Some(echo().await));
        let mut again = TcpStream::connect(proxy.address()).await.expect("connected");
        say(&mut again, "ping").await;
        assert_eq!(hear(&mut again, 4).await.expect("an echo"), "ping");
    }
}
