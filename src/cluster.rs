//! What a cluster is, once and for all: its name, and how many replicas its groups have.

use anyhow::{anyhow, ensure};
use bazaar_rpc::net::ClusterName;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::layout::{Layout, read_json, write_json};

/// The version of the file's format.
const FORMAT: u32 = 1;

/// What to do about a file that cannot be read.
const WAY_OUT: &str = "delete it, and start once with the --orders and --catalogs that the cluster \
                       was founded with";

/// A cluster, as its first start made it.
#[derive(Clone, Debug)]
pub(crate) struct Cluster {
    /// Random, so that processes of two clusters on one machine never take each other for their own.
    pub(crate) name: ClusterName,
    pub(crate) size: Size,
}

/// How many replicas the groups have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Size {
    pub(crate) orders: u64,
    pub(crate) catalogs: u64,
}

/// The size that is asked for.
#[derive(Clone, Copy, Debug, Default, clap::Args)]
pub(crate) struct SizeFlags {
    /// How many replicas the order group has; set when the cluster first starts [default: 3].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=9))]
    pub(crate) orders: Option<u64>,

    /// How many replicas the catalog has; set when the cluster first starts [default: 1].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=9))]
    pub(crate) catalogs: Option<u64>,
}

/// What the file holds.
#[derive(Serialize, Deserialize)]
struct Saved {
    format: u32,
    cluster: String,
    #[serde(flatten)]
    size: Size,
}

impl Cluster {
    /// The cluster of this data directory; founded where there is none.
    ///
    /// # Errors
    /// When the cluster there has another size than `wanted`, or its file cannot be read or written.
    pub(crate) fn open(layout: &Layout, wanted: SizeFlags) -> anyhow::Result<Self> {
        let path = layout.cluster();
        let Some(Saved {
            format,
            cluster,
            size,
        }) = read_json(&path).map_err(|error| anyhow!("{error:#}; {WAY_OUT}"))?
        else {
            let size = Size {
                orders: wanted.orders.unwrap_or(3),
                catalogs: wanted.catalogs.unwrap_or(1),
            };
            let cluster = format!("bazaar-{}", Uuid::new_v4().simple());
            let name = cluster.parse()?;
            write_json(
                &path,
                &Saved {
                    format: FORMAT,
                    cluster,
                    size,
                },
            )?;
            return Ok(Self { name, size });
        };
        ensure!(
            format == FORMAT,
            "{}: unknown format {format}",
            path.display()
        );
        let Size { orders, catalogs } = size;
        let is_as_wanted = wanted.orders.is_none_or(|wanted| wanted == orders)
            && wanted.catalogs.is_none_or(|wanted| wanted == catalogs);
        ensure!(
            is_as_wanted,
            "data directory {}: its cluster was founded with --orders {orders} --catalogs \
             {catalogs}, which cannot be changed; give another --data-dir for another cluster",
            layout.root().display()
        );
        Ok(Self {
            name: cluster.parse()?,
            size,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cluster_keeps_its_name_and_its_size() {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::new(dir.path());
        let wanted = |orders, catalogs| SizeFlags { orders, catalogs };
        let founded = Cluster::open(&layout, wanted(Some(5), None)).unwrap();
        assert_eq!(
            founded.size,
            Size {
                orders: 5,
                catalogs: 1
            }
        );
        for same in [wanted(None, None), wanted(Some(5), Some(1))] {
            let again = Cluster::open(&layout, same).unwrap();
            assert_eq!(
                (again.name, again.size),
                (founded.name.clone(), founded.size)
            );
        }
        for other in [wanted(Some(3), None), wanted(None, Some(3))] {
            let refused = Cluster::open(&layout, other).unwrap_err().to_string();
            assert!(refused.contains("--orders 5 --catalogs 1"), "{refused}");
        }
    }
}
