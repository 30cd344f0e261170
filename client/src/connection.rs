//! A session's connection: persistent HTTP/1.1, opened again when it breaks, on the next frontend
//! when this one is down, and after a while on its own again: else all sessions would end up at the
//! frontend that failed last.
//!
//! The one thing it must never get wrong is whether a request *may* have taken effect: an attempt
//! whose bytes may have left is ambiguous, whatever is answered to a later attempt.

use std::sync::Arc;
use std::time::Duration;

use bazaar_rpc::http::Problem;
use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, Request, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::task::AbortOnDropHandle;

use crate::BaseUrl;

/// The header under which a trade is sent once, however often it is sent.
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// The longest body of an answer: a thousand orders take less than half of it.
const MAX_BODY: usize = 2 << 20;

/// The longest message of an error that is reported, in characters.
const MAX_MESSAGE: usize = 200;

/// The longest wait for a connection to be accepted.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// The first and the longest wait between attempts, once every frontend was tried.
const BACK_OFF: (Duration, Duration) = (Duration::from_millis(4), Duration::from_millis(250));

/// For how long a session stays away from its own frontend after that failed: the first time, and at
/// most where it goes on failing.
const ABSENCE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

/// A request, ready to be sent any number of times.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    /// GET or POST.
    pub(crate) method: Method,
    /// Path and query.
    pub(crate) path: Uri,
    /// The idempotency key.
    pub(crate) key: Option<HeaderValue>,
    /// Whether caches must not answer it.
    pub(crate) no_cache: bool,
    /// JSON; empty for none.
    pub(crate) body: Bytes,
}

/// The answer to a request.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

/// What came of sending a request until it was answered or time was up.
#[derive(Debug)]
pub(crate) struct Exchange {
    /// The answer, or why there is none.
    pub(crate) answer: Result<Answer, String>,
    /// Whether an attempt other than the answered one may have taken effect.
    pub(crate) ambiguous: bool,
    /// How many attempts were made.
    pub(crate) attempts: u32,
}

/// Why an attempt brought no answer.
enum Failure {
    /// Nothing of the request left.
    NotSent(String),
    /// The request may have arrived.
    MaybeSent(String),
}

/// A session's connection.
#[derive(Debug)]
pub(crate) struct Connection {
    targets: Arc<[BaseUrl]>,
    /// The session's own frontend, and the one in use, by their places in `targets`.
    home: usize,
    at: usize,
    /// When to try its own one again, while it is away, and how long the next absence is.
    back_at: Instant,
    absence: Duration,
    live: Option<Live>,
    attempt_timeout: Duration,
}

/// An open connection; dropping it closes it.
#[derive(Debug)]
struct Live {
    sender: SendRequest<Full<Bytes>>,
    _driver: AbortOnDropHandle<()>,
}

impl Connection {
    /// A connection to the frontend at `home` in `targets`, opened when it is first used. One
    /// attempt takes `attempt_timeout` at most.
    pub(crate) fn new(targets: Arc<[BaseUrl]>, home: usize, attempt_timeout: Duration) -> Self {
        let home = home % targets.len();
        Self {
            home,
            at: home,
            back_at: Instant::now(),
            absence: ABSENCE.0,
            targets,
            live: None,
            attempt_timeout,
        }
    }

    /// Sends `call` until it is answered with something other than a temporary failure, or `until`
    /// has come.
    pub(crate) async fn exchange(&mut self, call: &Call, until: Instant) -> Exchange {
        let mut ambiguous = false;
        let mut attempts = 0;
        let mut back_off = BACK_OFF.0;
        loop {
            attempts += 1;
            let problem = match self.attempt(call).await {
                Ok(answer) if !answer.is_temporary_failure() => {
                    if self.at == self.home {
                        self.absence = ABSENCE.0;
                    }
                    return Exchange {
                        answer: Ok(answer),
                        ambiguous,
                        attempts,
                    };
                }
                Ok(answer) => {
                    // A 5xx may hide anything; a 4xx has changed nothing.
                    ambiguous |= answer.status.is_server_error();
                    format!(
                        "{} from {}: {}",
                        answer.status,
                        self.target(),
                        answer.message()
                    )
                }
                Err(Failure::NotSent(problem)) => problem,
                Err(Failure::MaybeSent(problem)) => {
                    ambiguous = true;
                    problem
                }
            };
            self.move_on();
            let mut wait = Duration::ZERO;
            if (attempts as usize).is_multiple_of(self.targets.len()) {
                wait = back_off.mul_f64(rand::random_range(0.5..1.0));
                back_off = (back_off * 2).min(BACK_OFF.1);
            }
            if Instant::now() + wait >= until {
                return Exchange {
                    answer: Err(problem),
                    ambiguous,
                    attempts,
                };
            }
            if !wait.is_zero() {
                sleep(wait).await;
            }
        }
    }

    /// The frontend in use: the one that the next attempt goes to, and that the last answer is from.
    pub(crate) fn target(&self) -> &BaseUrl {
        &self.targets[self.at]
    }

    /// Turns to the next frontend. The connection is kept where there is only one and it answers.
    fn move_on(&mut self) {
        if self.targets.len() > 1 {
            if self.at == self.home {
                self.back_at = Instant::now() + self.absence;
                self.absence = (self.absence * 2).min(ABSENCE.1);
            }
            self.live = None;
            self.at = (self.at + 1) % self.targets.len();
        }
    }

    /// Turns to its own frontend, where it has been away for long enough. To be called before an exchange.
    pub(crate) fn return_home(&mut self) {
        if self.at != self.home && Instant::now() >= self.back_at {
            self.live = None;
            self.at = self.home;
        }
    }

    async fn attempt(&mut self, call: &Call) -> Result<Answer, Failure> {
        if let Some(live) = self.live.take().filter(|live| !live.sender.is_closed()) {
            match self.send(live, call).await {
                // The frontend has closed the connection while it was idle.
                Err(Failure::NotSent(_)) => {}
                done => return done,
            }
        }
        let opened = Live::open(self.target()).await;
        self.send(opened.map_err(Failure::NotSent)?, call).await
    }

    /// Sends `call` over `live`, which is kept if it is answered.
    async fn send(&mut self, mut live: Live, call: &Call) -> Result<Answer, Failure> {
        let request = call.request(self.target());
        let answer = timeout(self.attempt_timeout, live.send(request)).await;
        let answer = answer.map_err(|_elapsed| {
            let (target, limit) = (self.target(), self.attempt_timeout);
            Failure::MaybeSent(format!("no answer from {target} within {limit:?}"))
        })??;
        self.live = Some(live);
        Ok(answer)
    }
}

impl Live {
    async fn open(target: &BaseUrl) -> Result<Self, String> {
        let failed = |why: &dyn std::fmt::Display| format!("cannot connect to {target}: {why}");
        let stream = timeout(CONNECT_TIMEOUT, TcpStream::connect(target.address()))
            .await
            .map_err(|elapsed| failed(&elapsed))?
            .map_err(|error| failed(&error))?;
        stream.set_nodelay(true).map_err(|error| failed(&error))?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|error| failed(&error))?;
        let driver = tokio::spawn(async move {
            // Whoever waits for an answer learns of the failure from the sender.
            connection.await.ok();
        });
        Ok(Self {
            sender,
            _driver: AbortOnDropHandle::new(driver),
        })
    }

    async fn send(&mut self, request: Request<Full<Bytes>>) -> Result<Answer, Failure> {
        let unsent = |error: hyper::Error| Failure::NotSent(error.to_string());
        let lost = |error: &dyn std::fmt::Display| Failure::MaybeSent(error.to_string());
        self.sender.ready().await.map_err(unsent)?;
        let response = match self.sender.try_send_request(request).await {
            Ok(response) => response,
            // hyper gives the request back when nothing of it was written.
            Err(mut failed) => {
                return Err(match failed.take_message() {
                    Some(_request) => unsent(failed.into_error()),
                    None => lost(&failed.into_error()),
                });
            }
        };
        let (parts, body) = response.into_parts();
        let body = Limited::new(body, MAX_BODY)
            .collect()
            .await
            .map_err(|error| lost(&error))?;
        Ok(Answer {
            status: parts.status,
            headers: parts.headers,
            body: body.to_bytes(),
        })
    }
}

impl Call {
    /// A GET of `path`.
    pub(crate) fn get(path: Uri) -> Self {
        Self {
            method: Method::GET,
            path,
            key: None,
            no_cache: false,
            body: Bytes::new(),
        }
    }

    fn request(&self, target: &BaseUrl) -> Request<Full<Bytes>> {
        let mut request = Request::new(Full::new(self.body.clone()));
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = self.path.clone();
        let headers = request.headers_mut();
        headers.insert(header::HOST, target.host());
        if !self.body.is_empty() {
            let json = HeaderValue::from_static("application/json");
            headers.insert(header::CONTENT_TYPE, json);
        }
        if let Some(key) = &self.key {
            headers.insert(IDEMPOTENCY_KEY, key.clone());
        }
        if self.no_cache {
            headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        }
        request
    }
}

impl Answer {
    /// What an error says, cut short.
    pub(crate) fn message(&self) -> String {
        let problem: Result<Problem, _> = serde_json::from_slice(&self.body);
        let message = problem.map_or_else(
            |_other| String::from_utf8_lossy(&self.body).into_owned(),
            |problem| problem.detail,
        );
        message.chars().take(MAX_MESSAGE).collect()
    }

    /// Whether the same request may be answered otherwise a little later.
    fn is_temporary_failure(&self) -> bool {
        self.status.is_server_error()
            || matches!(
                self.status,
                StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_EARLY | StatusCode::TOO_MANY_REQUESTS
            )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    const LONG: Duration = Duration::from_secs(20);

    /// Answers one request on each connection, or none where there is no answer for it, and closes
    /// it.
    async fn serve(answers: &'static [&'static str]) -> Arc<[BaseUrl]> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move {
            for answer in answers {
                let (mut stream, _) = listener.accept().await.unwrap();
                stream.read_buf(&mut Vec::new()).await.unwrap();
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
        });
        [url.parse().unwrap()].into()
    }

    const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
    const BUSY: &str = "HTTP/1.1 429 Too Many Requests\r\ncontent-length: 0\r\n\r\n";

    fn call() -> Call {
        Call::get(Uri::from_static("/stocks/GameStart"))
    }

    #[tokio::test]
    async fn a_connection_closed_while_idle_is_opened_again_without_ambiguity() {
        let mut connection = Connection::new(serve(&[OK, OK]).await, 0, LONG);
        for _ in 0..2 {
            let exchange = connection.exchange(&call(), Instant::now() + LONG).await;
            assert_eq!(&exchange.answer.unwrap().body[..], b"ok");
            assert_eq!((exchange.attempts, exchange.ambiguous), (1, false));
            let sender = &connection.live.as_ref().unwrap().sender;
            let closed = async {
                while !sender.is_closed() {
                    tokio::task::yield_now().await;
                }
            };
            timeout(LONG, closed).await.unwrap();
        }
    }

    #[tokio::test]
    async fn a_connection_closed_instead_of_an_answer_leaves_the_request_ambiguous() {
        let mut connection = Connection::new(serve(&["", OK]).await, 0, LONG);
        let exchange = connection.exchange(&call(), Instant::now() + LONG).await;
        assert!(exchange.answer.is_ok());
        assert_eq!((exchange.attempts, exchange.ambiguous), (2, true));
    }

    #[tokio::test]
    async fn what_was_never_taken_is_not_ambiguous() {
        let mut connection = Connection::new(serve(&[BUSY, OK]).await, 0, LONG);
        let exchange = connection.exchange(&call(), Instant::now() + LONG).await;
        assert!(exchange.answer.is_ok());
        assert!(!exchange.ambiguous);
    }

    #[tokio::test]
    async fn a_session_returns_to_its_own_frontend_when_that_has_had_time_to_recover() {
        let (home, other) = (serve(&[BUSY, OK]).await, serve(&[OK, OK]).await);
        let targets: Arc<[BaseUrl]> = [&home[..], &other[..]].concat().into();
        let mut connection = Connection::new(targets, 0, LONG);
        let mut used = Vec::new();
        for comes_back in [false, false, true] {
            if comes_back {
                connection.back_at = Instant::now();
            }
            connection.return_home();
            let exchange = connection.exchange(&call(), Instant::now() + LONG).await;
            assert!(exchange.answer.is_ok());
            used.push(connection.target().clone());
        }
        assert_eq!(used, [&other[..], &other[..], &home[..]].concat());
    }

    #[tokio::test]
    async fn an_attempt_and_the_whole_have_a_deadline() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let short = Duration::from_millis(20);
        let mut connection = Connection::new([url.parse().unwrap()].into(), 0, short);
        let exchange = connection
            .exchange(&call(), Instant::now() + 3 * short)
            .await;
        assert!(exchange.answer.unwrap_err().contains("within 20ms"));
        assert!(exchange.ambiguous);
    }
}
