//! What a request is known by: an id for people, and a trace for tools.
//!
//! Both are known wherever the request is worked on, without being passed along: problems carry the
//! id, and calls to other services carry the trace, so that one trade can be followed through the
//! logs of all processes.

use std::fmt;
use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use bazaar_rpc::connect;
use tarpc::context::Context;
use tarpc::trace::{SamplingDecision, SpanId, TraceId};

/// The id of a request, of the client's choosing or made here.
pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The trace of a request: <https://www.w3.org/TR/trace-context/>.
pub(crate) const TRACE_PARENT: HeaderName = HeaderName::from_static("traceparent");

/// The longest id that is taken from a client, in bytes.
pub(crate) const MAX_ID: usize = 128;

tokio::task_local! {
    static CURRENT: Request;
}

/// The request that is being worked on.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    /// The id that the client gave; the made one otherwise.
    given: Option<HeaderValue>,
    made: u128,
    trace: Trace,
    /// Whether the client sent a trace, and so is told the span.
    traced: bool,
}

impl Request {
    /// Takes the id and the trace from `headers`, where they are what they should be, and from `ids`
    /// otherwise.
    #[must_use]
    pub(crate) fn of(headers: &HeaderMap, ids: &Ids) -> Self {
        let made = ids.next();
        let given = headers.get(REQUEST_ID).filter(|id| is_sane(id)).cloned();
        let parent = sole(headers, TRACE_PARENT).and_then(Trace::of);
        Self {
            given,
            made,
            traced: parent.is_some(),
            trace: Trace {
                id: parent.map_or(made, |parent| parent.id),
                // The lower half: it too is another one for each request.
                span: made as u64,
                sampled: parent.is_some_and(|parent| parent.sampled),
            },
        }
    }

    /// Runs `work` as part of this request.
    pub(crate) fn scope<W: Future>(self, work: W) -> impl Future<Output = W::Output> {
        CURRENT.scope(self, work)
    }

    /// Tells the client what its request is known by.
    pub(crate) fn announce(&self, headers: &mut HeaderMap) {
        let id = match &self.given {
            Some(given) => given.clone(),
            None => {
                let made = hexadecimal::<32>(self.made);
                HeaderValue::from_bytes(&made).expect("it is hexadecimal")
            }
        };
        headers.insert(REQUEST_ID, id);
        if self.traced {
            let value = HeaderValue::try_from(self.trace.to_string());
            headers.insert(TRACE_PARENT, value.expect("it is hexadecimal"));
        }
    }
}

impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.given {
            Some(given) => f.write_str(given.to_str().expect("it is visible ASCII")),
            None => write!(f, "{:032x}", self.made),
        }
    }
}

/// `work` as part of the request that is being worked on, wherever it runs.
pub(crate) fn carried<W: Future>(work: W) -> impl Future<Output = W::Output> {
    let current = CURRENT.try_with(Clone::clone).ok();
    async move {
        match current {
            Some(request) => request.scope(work).await,
            None => work.await,
        }
    }
}

/// The id of the request that is being worked on; empty outside of one.
#[must_use]
pub(crate) fn current_id() -> String {
    CURRENT.try_with(ToString::to_string).unwrap_or_default()
}

/// The context of a call that has `limit` from now, as part of the request's trace.
#[must_use]
pub(crate) fn within(limit: Duration) -> Context {
    let mut context = connect::within(limit);
    // Outside of a request, there is no trace.
    let _outside = CURRENT.try_with(|request| {
        context.trace_context.trace_id = TraceId::from(request.trace.id);
        context.trace_context.span_id = SpanId::from(request.trace.span);
        context.trace_context.sampling_decision = if request.trace.sampled {
            SamplingDecision::Sampled
        } else {
            SamplingDecision::Unsampled
        };
    });
    context
}

/// Makes ids: 128 bits, of which the upper half tells this process from others, and the lower half
/// one request of it from another.
#[derive(Debug)]
pub(crate) struct Ids {
    process: u64,
    next: AtomicU64,
}

impl Ids {
    /// A series of its own, at random.
    #[must_use]
    pub(crate) fn new() -> Self {
        Self {
            // A trace id must not be zero.
            process: rand::random_range(1..=u64::MAX),
            next: AtomicU64::new(rand::random()),
        }
    }

    fn next(&self) -> u128 {
        // Neighbours look nothing alike (SplitMix64: Steele, Lea and Flood, 2014), since tools pick
        // samples by some of an id's bits. A span id must not be zero, which one number in 2^64 is.
        const GOLDEN_GAMMA: u64 = 0x9e37_79b9_7f4a_7c15;
        let mut bits = self.next.fetch_add(GOLDEN_GAMMA, Ordering::Relaxed);
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^= bits >> 31;
        (u128::from(self.process) << 64) | u128::from(bits.max(1))
    }
}

/// Where in a trace a request is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Trace {
    id: u128,
    span: u64,
    sampled: bool,
}

impl Trace {
    /// Reads a `traceparent`; none where it is not one (section 3.2 of the recommendation: it is then
    /// as if there were none).
    fn of(value: &HeaderValue) -> Option<Self> {
        let text = value.to_str().ok()?;
        let (version, rest) = (field::<2>(text)?, text.get(2..)?);
        let (id, rest) = (field::<32>(rest.strip_prefix('-')?)?, rest.get(33..)?);
        let (span, rest) = (field::<16>(rest.strip_prefix('-')?)?, rest.get(17..)?);
        let (flags, rest) = (field::<2>(rest.strip_prefix('-')?)?, rest.get(3..)?);
        let known = match version {
            0 => rest.is_empty(),
            0xff => false,
            // A later version may add fields.
            _ => rest.is_empty() || rest.starts_with('-'),
        };
        (known && id != 0 && span != 0).then_some(Self {
            id,
            span: span as u64,
            sampled: flags & 1 == 1,
        })
    }
}

impl fmt::Display for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let flags = u8::from(self.sampled);
        write!(f, "00-{:032x}-{:016x}-{flags:02x}", self.id, self.span)
    }
}

/// The value of a header that has one value; more than one are none.
fn sole(headers: &HeaderMap, name: HeaderName) -> Option<&HeaderValue> {
    let mut values = headers.get_all(name).iter();
    values.next().filter(|_| values.next().is_none())
}

/// Reads `LENGTH` lower-case hexadecimal digits.
fn field<const LENGTH: usize>(text: &str) -> Option<u128> {
    let digits = text.get(..LENGTH)?;
    let hexadecimal = |byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    digits
        .bytes()
        .all(hexadecimal)
        .then(|| u128::from_str_radix(digits, 16).ok())?
}

/// Short, and of characters that are safe in any log.
fn is_sane(id: &HeaderValue) -> bool {
    let id = id.as_bytes();
    let safe = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.:/+=@".contains(byte);
    (1..=MAX_ID).contains(&id.len()) && id.iter().all(safe)
}

/// The lowest digits of `number`, which every answer has: faster than the formatter, that is.
pub(crate) fn hexadecimal<const LENGTH: usize>(number: u128) -> [u8; LENGTH] {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = [0; LENGTH];
    for (place, digit) in text.iter_mut().rev().enumerate() {
        *digit = DIGITS[(number >> (4 * place)) as usize & 0xf];
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(headers: &[(HeaderName, &str)]) -> Request {
        let header = |(name, value): &(HeaderName, &str)| {
            (name.clone(), HeaderValue::from_str(value).unwrap())
        };
        Request::of(&headers.iter().map(header).collect(), &Ids::new())
    }

    #[test]
    fn a_sane_id_is_kept_and_another_is_replaced() {
        for sane in ["a", "01J8-x_y.z", &"x".repeat(128)] {
            assert_eq!(of(&[(REQUEST_ID, sane)]).to_string(), sane);
        }
        for bad in ["", "a b", "a\"b", "é", "a,b", &"x".repeat(129)] {
            let made = of(&[(REQUEST_ID, bad)]).to_string();
            assert_eq!(made.len(), 32, "{bad}");
        }
    }

    #[test]
    fn two_traces_are_none() {
        let parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let mut headers = HeaderMap::new();
        for _ in 0..2 {
            headers.append(TRACE_PARENT, HeaderValue::from_static(parent));
        }
        assert!(!Request::of(&headers, &Ids::new()).traced);
    }

    #[test]
    fn ids_differ() {
        let ids = Ids::new();
        let made: std::collections::BTreeSet<_> = (0..1000).map(|_| ids.next()).collect();
        assert_eq!(made.len(), 1000);
        assert_eq!(
            hexadecimal::<32>(0xab),
            *format!("{:032x}", 0xab).as_bytes()
        );
        assert_eq!(hexadecimal::<8>(0x1_0000_00ab), *b"000000ab");
    }

    #[test]
    fn a_trace_goes_on_and_what_is_none_is_ignored() {
        let id = "4bf92f3577b34da6a3ce929d0e0e4736";
        let parent = format!("00-{id}-00f067aa0ba902b7-01");
        let mut answer = HeaderMap::new();
        of(&[(TRACE_PARENT, &parent)]).announce(&mut answer);
        let told = answer[TRACE_PARENT].to_str().unwrap();
        assert!(
            told.starts_with(&format!("00-{id}-")) && told.ends_with("-01"),
            "{told}"
        );
        assert_ne!(told, parent, "the span is this service's own");

        let of_value = |value: &str| Trace::of(&HeaderValue::from_str(value).unwrap());
        assert!(of_value(&format!("cc-{id}-00f067aa0ba902b7-00-more")).is_some());
        for bad in [
            String::new(),
            "00".into(),
            parent.to_uppercase(),
            format!("ff-{id}-00f067aa0ba902b7-01"),
            format!("{parent}-more"),
            format!("cc-{id}-00f067aa0ba902b7-00more"),
            format!("00-{}-00f067aa0ba902b7-01", "0".repeat(32)),
            format!("00-{id}-{}-01", "0".repeat(16)),
            parent[..54].into(),
        ] {
            assert_eq!(of_value(&bad), None, "{bad}");
            let mut answer = HeaderMap::new();
            of(&[(TRACE_PARENT, &bad)]).announce(&mut answer);
            assert!(!answer.contains_key(TRACE_PARENT), "{bad}");
        }
    }
}
