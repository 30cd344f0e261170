//! Tests of the crate as a whole, over real files and real connections: openraft's storage suite,
//! damage to the log, and groups of one and three replicas.

mod cluster;
mod distance;
mod machine;
mod replacement;
mod scenarios;
mod storage;
