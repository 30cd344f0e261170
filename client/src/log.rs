//! The file of acknowledged orders: one JSON object a line.
//!
//! One thread owns it. Sessions hand acknowledgements over through a bounded queue and wait when
//! the disk is slower than they are. Nothing is kept in memory but a few bits for each order, by
//! which a number that was given twice is noticed; the judge reads the orders from the file.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::Context;
use bazaar_rpc::{ItemName, OrderNumber, Quantity, Side};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::api::Intent;
use crate::judgement::{Doubled, MAX_SAMPLES};
use crate::numbers::NumberSet;

/// Acknowledgements that may wait to be written.
const QUEUE: usize = 4096;

/// An order that this client was told is made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Acknowledged {
    /// Its transaction number.
    pub number: OrderNumber,
    /// The item.
    pub name: ItemName,
    /// Which way.
    #[serde(rename = "type")]
    pub side: Side,
    /// How many units.
    pub quantity: Quantity,
    /// The idempotency key under which it was asked for.
    pub key: String,
}

impl Acknowledged {
    /// The orders in the log at `path`, in the order in which they were acknowledged.
    ///
    /// # Errors
    /// When the file cannot be opened; the iterator's, when a line cannot be read.
    pub fn read(path: &Path) -> io::Result<impl Iterator<Item = io::Result<Self>> + use<>> {
        let lines = BufReader::new(File::open(path)?).lines();
        Ok(lines.map(|line| Ok(serde_json::from_str(&line?)?)))
    }

    pub(crate) fn new(number: OrderNumber, intent: Intent) -> Self {
        let Intent {
            name,
            side,
            quantity,
            key,
        } = intent;
        Self {
            number,
            name,
            side,
            quantity,
            key,
        }
    }

    /// What was asked for.
    pub(crate) fn intent(&self) -> Intent {
        let Self {
            name,
            side,
            quantity,
            key,
            ..
        } = self.clone();
        Intent {
            name,
            side,
            quantity,
            key,
        }
    }
}

/// The open log.
#[derive(Debug)]
pub(crate) struct Log {
    pub(crate) path: PathBuf,
    queue: mpsc::Sender<Acknowledged>,
    writer: JoinHandle<io::Result<Written>>,
}

/// What the log's writer found.
#[derive(Debug, Default)]
pub(crate) struct Written {
    pub(crate) count: u64,
    pub(crate) numbers: NumberSet,
    /// How many numbers were acknowledged to more than one key, and some of them.
    pub(crate) doubled: (u64, Vec<Doubled>),
    /// By how much the orders of each item raised its stock.
    pub(crate) net: HashMap<ItemName, i128>,
}

impl Log {
    /// Creates the file at `path`, which must be new, with the directories that lead to it.
    pub(crate) fn create(path: PathBuf) -> anyhow::Result<Self> {
        let open = || {
            if let Some(parent) = path.parent() {
                fs::create_dir_all(parent)?;
            }
            // What an earlier run was told is not overwritten.
            File::create_new(&path)
        };
        let file = open().with_context(|| format!("cannot create the log {}", path.display()))?;
        let (queue, acknowledged) = mpsc::channel(QUEUE);
        let writer = tokio::task::spawn_blocking(move || write(file, acknowledged));
        Ok(Self {
            path,
            queue,
            writer,
        })
    }

    /// Where acknowledgements go.
    pub(crate) fn queue(&self) -> mpsc::Sender<Acknowledged> {
        self.queue.clone()
    }

    /// Waits until everything is written and every other sender is gone.
    pub(crate) async fn close(self) -> anyhow::Result<Written> {
        drop(self.queue);
        let written = self.writer.await.context("the log's writer panicked")?;
        written.with_context(|| format!("cannot write the log {}", self.path.display()))
    }
}

fn write(file: File, mut queue: mpsc::Receiver<Acknowledged>) -> io::Result<Written> {
    let mut file = BufWriter::new(file);
    let mut written = Written::default();
    let mut batch = Vec::with_capacity(QUEUE);
    while queue.blocking_recv_many(&mut batch, QUEUE) > 0 {
        for order in batch.drain(..) {
            serde_json::to_writer(&mut file, &order)?;
            file.write_all(b"\n")?;
            written.add(order);
        }
        // So that what was acknowledged is in the file, should this process be killed.
        file.flush()?;
    }
    Ok(written)
}

impl Written {
    fn add(&mut self, order: Acknowledged) {
        self.count += 1;
        let units = i128::from(order.quantity.units());
        *self.net.entry(order.name).or_default() += match order.side {
            Side::Buy => -units,
            Side::Sell => units,
        };
        if !self.numbers.insert(order.number) {
            self.doubled.0 += 1;
            if self.doubled.1.len() < MAX_SAMPLES {
                self.doubled.1.push(Doubled::SharedNumber {
                    number: order.number,
                    key: order.key,
                });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(number: u64, side: Side) -> Acknowledged {
        Acknowledged {
            number: OrderNumber(number),
            name: ItemName::new("Game \"Start\"").unwrap(),
            side,
            quantity: Quantity::new(3).unwrap(),
            key: format!("k-{number}"),
        }
    }

    #[tokio::test]
    async fn what_was_acknowledged_is_read_back_and_a_number_given_twice_is_noticed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("deep/down/orders.ndjson");
        let log = Log::create(path.clone()).unwrap();
        let orders = [
            order(7, Side::Buy),
            order(8, Side::Buy),
            order(7, Side::Sell),
        ];
        let queue = log.queue();
        for order in &orders {
            queue.send(order.clone()).await.unwrap();
        }
        drop(queue);
        let written = log.close().await.unwrap();
        assert_eq!(written.count, 3);
        assert_eq!(written.doubled.0, 1);
        assert_eq!(written.net[&orders[0].name], -3);
        let read: Vec<_> = Acknowledged::read(&path)
            .unwrap()
            .map(Result::unwrap)
            .collect();
        assert_eq!(read, orders);
        let line = fs::read_to_string(&path)
            .unwrap()
            .lines()
            .next()
            .unwrap()
            .to_owned();
        assert_eq!(
            line,
            r#"{"number":7,"name":"Game \"Start\"","type":"buy","quantity":3,"key":"k-7"}"#
        );
    }

    #[test]
    fn a_log_that_cannot_be_created_is_named() {
        let error = Log::create("/dev/null/orders".into()).unwrap_err();
        assert!(error.to_string().contains("/dev/null/orders"), "{error}");
    }
}
