//! Clients that reset their connection at every point of a request: before the head, at each part of
//! it, after it, in the body, right after the last byte, and while the answer comes.
//!
//! Nobody tells them what came of it, so each then sends the same request again, under the same key,
//! through another frontend: it must be made once, whichever of the two it was that made it.

use std::time::Duration;

use bazaar_client::BaseUrl;
use bazaar_history::http::Request;
use bazaar_history::{Call, Event, Reason};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::{Instant, timeout};

use super::caller::connect;
use super::recorder::Session;
use super::{Caller, Clients};

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
        let sample = Wire::new(clients, first, &clients.some_call(&mut random));
        for point in points(&sample) {
            if Instant::now() >= deadline {
                break 'all;
            }
            let call = clients.some_call(&mut random);
            let wire = Wire::new(clients, first, &call);
            reset(
                &mut session,
                &clients.urls[first],
                call.clone(),
                &wire,
                point,
            )
            .await?;
            caller.insist(clients, first, &call).await?;
            count += 1;
        }
    }
    Ok(count)
}

/// A request as it goes over the wire.
struct Wire {
    bytes: Vec<u8>,
    /// How long its head is.
    head: usize,
}

impl Wire {
    /// The request that `call` is, for the frontend in that place.
    fn new(clients: &Clients, place: usize, call: &Call) -> Self {
        let request = Request::new(call, &clients.account.token());
        Self::of(request, clients.urls[place].address())
    }

    fn of(request: Request, host: &str) -> Self {
        let Request {
            method,
            path,
            headers,
            body,
        } = request;
        let mut head = format!("{method} {path} HTTP/1.1\r\nhost: {host}\r\n");
        for (name, value) in headers {
            head += &format!("{name}: {value}\r\n");
        }
        head += &format!("content-length: {}\r\n\r\n", body.len());
        Self {
            head: head.len(),
            bytes: (head + &body).into(),
        }
    }
}

/// Every point of a request such as `wire`.
fn points(wire: &Wire) -> Vec<Point> {
    let Wire { bytes, head } = wire;
    let mut sent = vec![0, 1];
    // In the midst of each line of the head, and at its end.
    let mut begin = 0_usize;
    for end in (1..=*head).filter(|end| bytes[..*end].ends_with(b"\r\n")) {
        sent.extend([begin.midpoint(end), end - 1, end]);
        begin = end;
    }
    // And of the body, where it has one.
    sent.extend([
        head + 1,
        head.midpoint(bytes.len()),
        bytes.len() - 1,
        bytes.len(),
    ]);
    sent.retain(|count| *count <= bytes.len());
    sent.dedup();
    let sent = sent.into_iter().map(Point::Sent);
    sent.chain([1, 12, MAX_READ].map(Point::Answered)).collect()
}

async fn reset(
    session: &mut Session,
    at: &BaseUrl,
    call: Call,
    wire: &Wire,
    point: Point,
) -> anyhow::Result<()> {
    session.invoke(at.address(), call)?;
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
            // It may be shorter than the one that the point is of.
            Point::Sent(count) => {
                let count = count.min(wire.bytes.len());
                stream.write_all(&wire.bytes[..count]).await
            }
            Point::Answered(count) => {
                stream.write_all(&wire.bytes).await?;
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
    use bazaar_rpc::{ItemName, OrderNumber, Quantity, Side, UserId};

    use super::*;

    fn wire(call: &Call) -> Wire {
        Wire::of(Request::new(call, "token"), "127.0.0.1:8080")
    }

    fn cancel() -> Call {
        Call::Amend {
            order: OrderNumber(7),
            to: Quantity::default(),
            key: "k".into(),
            user: UserId(1),
        }
    }

    fn buy() -> Call {
        Call::Trade {
            item: ItemName::new("GameStart").unwrap(),
            side: Side::Buy,
            quantity: Quantity::new(3).unwrap(),
            key: "k".into(),
            user: None,
        }
    }

    #[test]
    fn a_request_is_cut_at_every_part() {
        let wire = wire(&buy());
        let Wire { bytes, head } = &wire;
        let points = points(&wire);
        for part in [
            0,
            1,
            head - 2,
            *head,
            head + 1,
            bytes.len() - 1,
            bytes.len(),
        ] {
            assert!(points.contains(&Point::Sent(part)), "{part}: {points:?}");
        }
        // Six lines of the head with three points each, and what is around them.
        assert!(points.len() > 20, "{points:?}");
    }

    #[test]
    fn no_point_is_behind_the_end() {
        for call in [buy(), cancel()] {
            let wire = wire(&call);
            assert!(points(&wire).iter().all(|point| match point {
                Point::Sent(count) => *count <= wire.bytes.len(),
                Point::Answered(count) => *count <= MAX_READ,
            }));
        }
        let Wire { bytes, head } = wire(&cancel());
        assert_eq!(bytes.len(), head);
        assert!(bytes.starts_with(b"DELETE /orders/7 HTTP/1.1\r\n"));
    }
}
