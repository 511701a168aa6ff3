//! A real HTTP/1.1 and HTTP/2 server, with or without TLS, on a thread of its own.
//!
//! A handler gives the answer to each request; the [log](super::log) tells what came. What a correct server never
//! sends is [`Raw`](super::Raw)'s business.

use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::{Request, Response, Version};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot, watch};
use tokio_rustls::TlsAcceptor;

use super::authority::Alpn;
use super::log::{Connection, Counts, InFlight, Log};
use super::reply::Part;
use super::{Identity, Reply, Seen};

type Handler = dyn Fn(&Seen) -> Reply + Send + Sync;

/// Streams that an HTTP/2 connection may have at once, where the case does not say.
const STREAMS: u32 = 200;

/// How a server ends connections that are still good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Farewell {
    /// As the protocol has it: what runs may finish, HTTP/2 says GOAWAY.
    Polite,
    /// At once and without a word, not even one of TLS.
    Abrupt,
}

/// A server whose bodies are their paths.
pub fn echo() -> Server {
    Server::http(|seen: &Seen| Reply::ok(seen.path.clone()))
}

/// A running server; gone when dropped.
pub struct Server {
    addr: SocketAddr,
    tls: bool,
    log: Arc<Log>,
    farewell: watch::Sender<Option<Farewell>>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Plain HTTP/1.1 (and HTTP/2 by prior knowledge) on 127.0.0.1.
    pub fn http(handler: impl Fn(&Seen) -> Reply + Send + Sync + 'static) -> Server {
        Server::start(Ipv4Addr::LOCALHOST, None, STREAMS, handler)
    }

    /// The same on another loopback address.
    pub fn http_at(addr: Ipv4Addr, handler: impl Fn(&Seen) -> Reply + Send + Sync + 'static) -> Server {
        Server::start(addr, None, STREAMS, handler)
    }

    /// HTTPS for `localhost` and 127.0.0.1.
    pub fn tls(identity: &Identity, alpn: Alpn, handler: impl Fn(&Seen) -> Reply + Send + Sync + 'static) -> Server {
        Server::start(Ipv4Addr::LOCALHOST, Some(identity.server_config(alpn)), STREAMS, handler)
    }

    /// HTTPS with HTTP/2 that lets a connection have so many streams at once.
    pub fn http2_with_streams(
        streams: u32,
        identity: &Identity,
        handler: impl Fn(&Seen) -> Reply + Send + Sync + 'static,
    ) -> Server {
        Server::start(Ipv4Addr::LOCALHOST, Some(identity.server_config(Alpn::Http2)), streams, handler)
    }

    fn start(
        addr: Ipv4Addr,
        tls: Option<Arc<ServerConfig>>,
        streams: u32,
        handler: impl Fn(&Seen) -> Reply + Send + Sync + 'static,
    ) -> Server {
        let listener = std::net::TcpListener::bind((addr, 0)).expect("bind a server");
        // Thousands may come at once; listening again changes the length of the queue.
        rustix::net::listen(&listener, 4096).expect("lengthen the queue");
        listener.set_nonblocking(true).expect("a non-blocking listener");
        let addr = listener.local_addr().expect("it is bound");
        let log = Arc::new(Log::default());
        let (stop, stopped) = oneshot::channel();
        let (farewell, farewells) = watch::channel(None);
        let service = Service { log: log.clone(), handler: Arc::new(handler), streams, farewells };
        let has_tls = tls.is_some();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("start a runtime");
            runtime.block_on(async move {
                let listener = TcpListener::from_std(listener).expect("a listener in the runtime");
                tokio::select! {
                    () = accept(listener, tls.map(TlsAcceptor::from), service) => {}
                    _ = stopped => {}
                }
            });
        });
        Server { addr, tls: has_tls, log, farewell, stop: Some(stop), thread: Some(thread) }
    }

    /// The URL of a path here.
    pub fn url(&self, path: &str) -> String {
        if self.tls { self.url_as("localhost", path) } else { self.url_as(&self.addr.ip().to_string(), path) }
    }

    /// The URL of a path here under another host name.
    pub fn url_as(&self, host: &str, path: &str) -> String {
        let scheme = if self.tls { "https" } else { "http" };
        format!("{scheme}://{host}:{}{path}", self.addr.port())
    }

    /// The URLs of so many paths that begin with this.
    pub fn numbered(&self, begin: &str, count: usize) -> Vec<String> {
        (0..count).map(|number| self.url(&format!("{begin}{number}"))).collect()
    }

    /// The value of `--resolve` that leads a host name here.
    pub fn resolve(&self, host: &str) -> String {
        format!("{host}:{}:{}", self.addr.port(), self.addr.ip())
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.addr.port()
    }

    /// Every request so far.
    pub fn seen(&self) -> Vec<Seen> {
        self.log.with(|counts| counts.requests.clone())
    }

    /// The paths asked for so far, in order.
    pub fn paths(&self) -> Vec<String> {
        self.seen().into_iter().map(|seen| seen.path).collect()
    }

    /// Requests for this path so far.
    pub fn count(&self, path: &str) -> usize {
        self.counts(|counts| counts.of(path))
    }

    /// A figure of the log.
    pub fn counts<T>(&self, figure: impl FnOnce(&Counts) -> T) -> T {
        self.log.with(|counts| figure(counts))
    }

    /// Ends every connection that is open now, and returns when that has been set in motion.
    #[track_caller]
    pub fn hang_up(&self, farewell: Farewell) {
        let connections = self.counts(|counts| counts.connections);
        self.farewell.send_replace(Some(farewell));
        self.wait("the farewells", |counts| counts.farewells >= connections);
    }

    /// Returns once `met` holds.
    #[track_caller]
    pub fn wait(&self, what: &str, met: impl Fn(&Counts) -> bool) {
        self.log.wait(what, met);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

#[derive(Clone)]
struct Service {
    log: Arc<Log>,
    handler: Arc<Handler>,
    /// Streams that an HTTP/2 connection may have at once.
    streams: u32,
    farewells: watch::Receiver<Option<Farewell>>,
}

async fn accept(listener: TcpListener, tls: Option<TlsAcceptor>, service: Service) {
    loop {
        let Ok((socket, _)) = listener.accept().await else { continue };
        let connection = service.log.connected();
        let (service, tls) = (service.clone(), tls.clone());
        tokio::spawn(async move {
            let _ = socket.set_nodelay(true);
            match tls {
                None => serve(socket, connection, service).await,
                Some(tls) => {
                    if let Ok(socket) = tls.accept(socket).await {
                        serve(socket, connection, service).await;
                    }
                }
            }
        });
    }
}

async fn serve(
    socket: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    mut connection: Connection,
    service: Service,
) {
    let number = connection.number;
    let mut farewells = service.farewells.clone();
    farewells.mark_unchanged();
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http2().max_concurrent_streams(service.streams);
    let service = hyper::service::service_fn(move |request: Request<Incoming>| {
        let service = service.clone();
        async move { Ok::<_, Infallible>(service.answer(&request, number).await) }
    });
    // A client that goes away is what many cases are about: no error of the server.
    let mut serving = Box::pin(builder.serve_connection(TokioIo::new(socket), service));
    tokio::select! {
        _ = &mut serving => {}
        Ok(()) = farewells.changed() => if *farewells.borrow() == Some(Farewell::Polite) {
            serving.as_mut().graceful_shutdown();
            // With HTTP/2 it ends when the client has answered, who may be looking elsewhere.
            if tokio::time::timeout(Duration::from_millis(100), &mut serving).await.is_err() {
                connection.part();
                let _ = serving.await;
            }
        }
    }
}

impl Service {
    async fn answer(&self, request: &Request<Incoming>, connection: usize) -> Response<Content> {
        let mut seen = seen(request, connection);
        let in_flight = self.log.requested(&mut seen);
        let reply = (self.handler)(&seen);
        if let Some(gate) = &reply.held {
            gate.pass().await;
        }
        if let Some(delay) = reply.delay {
            tokio::time::sleep(delay).await;
        }
        let mut response = Response::builder().status(reply.status);
        for (name, value) in &reply.headers {
            response = response.header(name.as_str(), value.as_bytes());
        }
        let length = (!reply.chunked).then(|| reply.length());
        let (pieces, body) = mpsc::channel(1);
        tokio::spawn(send(reply.parts, pieces));
        response.body(Content { pieces: body, length, _in_flight: in_flight }).expect("a valid status and headers")
    }
}

fn seen(request: &Request<Incoming>, connection: usize) -> Seen {
    let text = |value: &hyper::header::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    let headers: Vec<_> =
        request.headers().iter().map(|(name, value)| (name.as_str().to_owned(), text(value))).collect();
    let host = request.uri().authority().map(ToString::to_string);
    let host = host.or_else(|| headers.iter().find(|(name, _)| name == "host").map(|(_, value)| value.clone()));
    let version = match request.version() {
        Version::HTTP_2 => "2",
        Version::HTTP_10 => "1.0",
        _ => "1.1",
    };
    // A proxy is asked for the whole URL, and that is what it sees.
    let whole = version != "2" && request.uri().authority().is_some();
    let path = if whole {
        request.uri().to_string()
    } else {
        request.uri().path_and_query().map_or_else(|| "*".to_owned(), ToString::to_string)
    };
    Seen {
        method: request.method().to_string(),
        path,
        host: host.unwrap_or_default(),
        headers,
        version,
        connection,
        earlier: 0,
        running: 0,
        started: Instant::now(),
        ended: None,
    }
}

async fn send(parts: Vec<Part>, pieces: mpsc::Sender<Result<Bytes, Broken>>) {
    for part in parts {
        let piece = match part {
            Part::Bytes(bytes) => Ok(bytes.into()),
            Part::Break => Err(Broken),
            Part::Wait(gate) => {
                gate.pass().await;
                continue;
            }
            Part::Pause(time) => {
                tokio::time::sleep(time).await;
                continue;
            }
        };
        if pieces.send(piece).await.is_err() {
            return;
        }
    }
}

/// A body on its way.
struct Content {
    pieces: mpsc::Receiver<Result<Bytes, Broken>>,
    length: Option<u64>,
    _in_flight: InFlight,
}

/// The case wants the answer to end here.
#[derive(Debug)]
struct Broken;

impl std::fmt::Display for Broken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("broken off on purpose")
    }
}

impl std::error::Error for Broken {}

impl Body for Content {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        self.pieces.poll_recv(context).map(|piece| piece.map(|piece| piece.map(Frame::data)))
    }

    fn size_hint(&self) -> SizeHint {
        self.length.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}
