//! What every server process does alike: flags, signals, tasks, the accept loop, the data
//! directory, presence at the name server, and calls to the leader of a replicated group.
//!
//! A service implements [`App`] and hands its configuration to [`run`]:
//!
//! ```text
//! configure (clap) → build (binds, so addresses are known) → run (serves) → drain, with a cap
//! ```

mod acceptor;
mod app;
mod data_dir;
mod flags;
mod leader;
pub mod planted;
mod presence;
mod tasks;

pub use acceptor::{Acceptor, Handler, Routes};
pub use app::{App, end_with_parent, in_one_line, run};
pub use data_dir::{DataDir, DataDirError};
pub use flags::Flags;
pub use leader::{GroupClient, GroupError, Leader};
pub use presence::Presence;
pub use tasks::{Failure, Tasks};
