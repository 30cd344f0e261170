//! The encoding of what travels between processes. This file alone names the encoding: bincode in
//! its variable-width dialect, in frames with a length before them.
//!
//! bincode is not self-describing: both ends must have the same types. They do, because a cluster
//! runs one version of one binary, and the [connection greeting](crate::net) checks the protocol's
//! version before the first frame.

use bincode::config::{Bounded, WithOtherLimit};
use bincode::{DefaultOptions, Options};
use serde::{Deserialize, Serialize};
use tarpc::serde_transport::Transport;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_serde::formats::Bincode;
use tokio_util::codec::LengthDelimitedCodec;

/// The largest frame, in bytes. A frame above it ends the connection and every call on it, so
/// whoever sends many things sends them in pages well below this.
pub const MAX_FRAME: usize = 16 << 20;

/// Variable-width integers, no trailing bytes, and no value that claims to be larger than a frame.
type Dialect = WithOtherLimit<DefaultOptions, Bounded>;

/// A stream of typed messages over a byte stream, in both directions.
pub type Framed<S, Item, SinkItem> = Transport<S, Item, SinkItem, Bincode<Item, SinkItem, Dialect>>;

/// Frames `stream`: `Item` comes in, `SinkItem` goes out.
pub fn framed<S, Item, SinkItem>(stream: S) -> Framed<S, Item, SinkItem>
where
    S: AsyncRead + AsyncWrite,
    Item: for<'de> Deserialize<'de>,
    SinkItem: Serialize,
{
    let frames = LengthDelimitedCodec::builder()
        .max_frame_length(MAX_FRAME)
        .new_framed(stream);
    let dialect = DefaultOptions::new().with_limit(MAX_FRAME as u64);
    tarpc::serde_transport::new(frames, Bincode::from(dialect))
}
