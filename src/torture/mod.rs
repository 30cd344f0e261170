//! `bazaar torture`: a cluster under load suffers a seeded schedule of faults, and is then held to
//! every promise by checkers that read what its clients were told and what its replicas recorded.
//!
//! - `rounds` runs a long torture as several short ones, each with a fresh cluster; `run` is one.
//! - `schedule` says which fault strikes when, and what may overlap; `director` follows it.
//! - `strike` is one fault under way; `process_faults`, `network_faults`, `disk_faults`, `damage`
//!   and `client_faults` say what is done, by the means that `equipment` found on this machine.
//! - `arena` is the cluster; `clients` are clients that behave badly.
//! - `journal`, `watcher` and `evidence` write histories; `report` and `page` tell what came of it.

mod arena;
mod client_faults;
mod clients;
pub(crate) mod clock;
mod config;
mod damage;
mod director;
pub(crate) mod disk;
mod disk_faults;
mod equipment;
mod evidence;
mod fault;
mod figures;
mod journal;
mod network;
mod network_faults;
mod page;
mod plot;
mod process_faults;
mod report;
mod rounds;
mod run;
mod schedule;
mod strike;
mod sum;
mod watcher;

pub(crate) use config::Config;
pub(crate) use rounds::run;
