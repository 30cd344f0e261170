//! What to torture, how, and for how long.

use std::path::PathBuf;
use std::time::Duration;

use bazaar_client::Rate;

use crate::torture::fault::Choice;

/// How to torture.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Config {
    /// Makes the schedule of faults and the intended operations repeatable; random by default, and
    /// printed.
    #[arg(long)]
    pub(crate) seed: Option<u64>,

    /// How long to go on.
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = humantime::parse_duration, conflicts_with = "each")]
    pub(crate) duration: Duration,

    /// The longest time that one cluster is tortured: what lasts longer goes on with a fresh one, and
    /// all are summed up.
    #[arg(long, value_name = "TIME", default_value = "5m", value_parser = humantime::parse_duration)]
    pub(crate) round: Duration,

    /// The faults, by name or by what they get hold of: `process`, `network`, `disk`, `clock`,
    /// `client`; or `all`.
    #[arg(
        long,
        value_name = "FAULTS",
        value_delimiter = ',',
        default_value = "all"
    )]
    pub(crate) faults: Vec<Choice>,

    /// Fail unless each of these faults was injected, and met somebody; of groups and `all`, those
    /// among FAULTS.
    #[arg(long, value_name = "FAULTS", value_delimiter = ',')]
    pub(crate) require: Vec<Choice>,

    /// Inject every fault once, one after the other, with time to recover in between; by default
    /// they are drawn, and overlap.
    #[arg(long)]
    pub(crate) each: bool,

    /// How long each fault lasts with `--each`.
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = humantime::parse_duration, requires = "each")]
    pub(crate) each_for: Duration,

    /// Where to write report.json and report.html.
    #[arg(long, value_name = "DIR")]
    pub(crate) report: Option<PathBuf>,

    /// Keep data directories, logs and histories in this new directory, whatever comes of it; by
    /// default they are kept only where something is wrong.
    #[arg(long, value_name = "DIR")]
    pub(crate) keep: Option<PathBuf>,

    /// How many catalogs there are.
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=9))]
    pub(crate) catalogs: u64,

    /// How many order replicas there are.
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=9))]
    pub(crate) orders: u64,

    /// How many frontends there are.
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u64).range(1..=16))]
    pub(crate) frontends: u64,

    /// How many sessions drive the load, each on a connection of its own.
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) connections: u32,

    /// How many requests they send together, a second.
    #[arg(long, value_name = "PER_SECOND", default_value = "400")]
    pub(crate) rate: Rate,
}

impl Config {
    /// The command line that does the same again, with a seed that may have been drawn.
    pub(crate) fn command_line(&self, seed: u64) -> String {
        let names = |choices: &[Choice]| {
            let names: Vec<_> = choices.iter().map(ToString::to_string).collect();
            names.join(",")
        };
        let require = match &self.require[..] {
            [] => String::new(),
            choices => format!(" --require {}", names(choices)),
        };
        let time = if self.each {
            format!(
                "--each --each-for {}",
                humantime::format_duration(self.each_for)
            )
        } else {
            let [duration, round] = [self.duration, self.round].map(humantime::format_duration);
            format!("--duration {duration} --round {round}")
        };
        format!(
            "bazaar torture --seed {seed} {time} --faults {}{require} --catalogs {} --orders {} \
             --frontends {} --connections {} --rate {}",
            names(&self.faults),
            self.catalogs,
            self.orders,
            self.frontends,
            self.connections,
            self.rate
        )
    }
}
