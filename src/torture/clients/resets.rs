//! Clients that reset their connection at every point of a request: before the head, at each part of
//! it, after it, in the body, right after the last byte, and while the answer comes.
//!
//! Nobody tells them what came of it, so each then sends the same request again, under the same key,
//! through another frontend: it must be made once, whichever of the two it was that made it.

use std::time::Duration;

use bazaar_client::BaseUrl;
use bazaar_history::{Event, Reason};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::{Instant, timeout};

use super::caller::{body, call, connect};
use super::recorder::Session;
use super::{Caller, Clients, Intent};

/// How long the first bytes of an answer are waited for.
const ANSWER_LIMIT: Duration = Duration::from_secs(12);

/// The most of an answer that is read before a reset, in bytes: less than any has.
const MAX_READ: usize = 64;

/// Where a client resets the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Point {
    /// After so many bytes of the request.
    Sent(usize),
    /// After so many bytes of the answer.
    Answered(usize),
}

/// Resets connections until `deadline`; returns how many.
pub(crate) async fn resets(clients: &Clients, seed: u64, deadline: Instant) -> anyhow::Result<u64> {
    let mut random = StdRng::seed_from_u64(seed);
    let mut session = clients.recorder.session();
    let mut caller = Caller::new(clients.recorder.session());
    let mut count = 0;
    'all: loop {
        let first = random.random_range(0..clients.urls.len());
        let sample = clients.some_trade(&mut random);
        for point in points(&clients.urls[first], &sample) {
            if Instant::now() >= deadline {
                break 'all;
            }
            let intent = clients.some_trade(&mut random);
            let point = within(point, &clients.urls[first], &intent);
            reset(&mut session, &clients.urls[first], &intent, point).await?;
            caller.insist(clients, first, &intent).await?;
            count += 1;
        }
    }
    Ok(count)
}

/// The request as it goes over the wire, and how long its head is.
fn request(at: &BaseUrl, intent: &Intent) -> (Vec<u8>, usize) {
    let body = body(intent);
    let head = format!(
        "POST /orders HTTP/1.1\r\nhost: {}\r\ncontent-type: application/json\r\n\
         idempotency-key: {}\r\ncontent-length: {}\r\n\r\n",
        at.address(),
        intent.key,
        body.len()
    );
    let length = head.len();
    ([head.as_bytes(), &body].concat(), length)
}

/// Every point of a request such as `intent`.
fn points(at: &BaseUrl, intent: &Intent) -> Vec<Point> {
    let (bytes, head) = request(at, intent);
    let mut sent = vec![0, 1];
    // In the midst of each line of the head, and at its end.
    let mut begin = 0_usize;
    for end in (1..=head).filter(|end| bytes[..*end].ends_with(b"\r\n")) {
        sent.extend([begin.midpoint(end), end - 1, end]);
        begin = end;
    }
    sent.extend([
        head + 1,
        head.midpoint(bytes.len()),
        bytes.len() - 1,
        bytes.len(),
    ]);
    sent.dedup();
    let sent = sent.into_iter().map(Point::Sent);
    sent.chain([1, 12, MAX_READ].map(Point::Answered)).collect()
}

/// `point` in a request that may be shorter.
fn within(point: Point, at: &BaseUrl, intent: &Intent) -> Point {
    match point {
        Point::Sent(bytes) => Point::Sent(bytes.min(request(at, intent).0.len())),
        Point::Answered(_) => point,
    }
}

async fn reset(
    session: &mut Session,
    at: &BaseUrl,
    intent: &Intent,
    point: Point,
) -> anyhow::Result<()> {
    let (bytes, _) = request(at, intent);
    session.invoke(at.address(), call(intent))?;
    let mut stream = match connect(at).await {
        Ok(stream) => stream,
        Err(nobody) => {
            let reason = Reason::Other(nobody.to_string());
            return session.complete(Event::Refused {
                frontend: None,
                reason,
            });
        }
    };
    // With nothing to linger for, closing the connection resets it.
    stream.set_zero_linger()?;
    stream.set_nodelay(true)?;
    let broken = async {
        match point {
            Point::Sent(count) => stream.write_all(&bytes[..count]).await,
            Point::Answered(count) => {
                stream.write_all(&bytes).await?;
                stream.read_exact(&mut vec![0; count]).await.map(drop)
            }
        }
    };
    // The frontend may be gone or slow; the connection is reset all the same.
    let broken = timeout(ANSWER_LIMIT, broken).await;
    drop(stream);
    let how = match broken {
        Ok(Ok(())) => String::new(),
        Ok(Err(error)) => format!(", which had failed: {error}"),
        Err(elapsed) => format!(", which had stalled: {elapsed}"),
    };
    session.complete(Event::Unknown {
        reason: format!("reset the connection at {point:?}{how}"),
    })
}

#[cfg(test)]
mod tests {
    use bazaar_rpc::{ItemName, Quantity, Side};

    use super::*;

    #[test]
    fn a_request_is_cut_at_every_part() {
        let at: BaseUrl = "http://127.0.0.1:8080".parse().unwrap();
        let intent = Intent {
            item: ItemName::new("GameStart").unwrap(),
            side: Side::Buy,
            quantity: Quantity::new(3).unwrap(),
            key: "k".into(),
        };
        let (bytes, head) = request(&at, &intent);
        let points = points(&at, &intent);
        for part in [0, 1, head - 2, head, head + 1, bytes.len() - 1, bytes.len()] {
            assert!(points.contains(&Point::Sent(part)), "{part}: {points:?}");
        }
        // Six lines of the head with three points each, and what is around them.
        assert!(points.len() > 20, "{points:?}");
        assert!(points.iter().all(|point| match point {
            Point::Sent(count) => *count <= bytes.len(),
            Point::Answered(count) => *count <= MAX_READ,
        }));
    }
}
