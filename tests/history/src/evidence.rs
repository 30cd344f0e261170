//! Everything that is known about a run.

use std::collections::{BTreeSet, HashMap};
use std::io::BufRead;
use std::path::{Path, PathBuf};

use bazaar_rpc::TradeSequence;

use crate::{
    ClientEvent, Error, FaultChange, FaultEvent, Kind, Observation, Operation, Operations,
    OrderRecord, OrdersLine, Origin, Place, Problem, Source, StockLine, StockRecord, TradeRecord,
};

/// The log of an order replica, at the end of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OrderLog {
    /// The replica.
    pub source: String,
    /// Its orders, in the order in which they stand there.
    pub orders: Vec<OrderRecord>,
    /// The first trade that it has not applied.
    pub applied: TradeSequence,
}

/// The stock of a catalog replica, at the end of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StockReport {
    /// The replica.
    pub source: String,
    /// Its items.
    pub items: Vec<StockRecord>,
    /// The trades that it made and had not heard to be recorded.
    pub outbox: Vec<TradeRecord>,
    /// The first trade that it has not applied.
    pub applied: TradeSequence,
    /// How many times it has added, edited or restocked an item.
    pub edits: u64,
}

/// A fault that was injected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Where its beginning stands.
    pub place: Place,
    /// What was done to whom.
    pub what: String,
    /// When it began.
    pub began: u64,
    /// When it was over; none where it was not.
    pub ended: Option<u64>,
}

/// Everything that is known about a run.
///
/// All of it is kept in memory: some 250 bytes an operation and 100 bytes an order and replica.
#[derive(Clone, Debug, Default)]
pub struct Evidence {
    /// What clients did and were told.
    pub operations: Vec<Operation>,
    /// The logs of the order replicas.
    pub orders: Vec<OrderLog>,
    /// The stock of the catalog replicas.
    pub stocks: Vec<StockReport>,
    /// The faults.
    pub faults: Vec<Fault>,
    /// How replicas saw their groups, in the order in which each was seen.
    pub observations: Vec<Observation>,
    /// The kinds of evidence there is; a kind may be there and have nothing to say.
    pub kinds: BTreeSet<Kind>,
}

impl Evidence {
    /// Reads the files at `paths`.
    ///
    /// # Errors
    /// When one cannot be read to its end, says what cannot be, or does not go with the others.
    pub fn read<P: AsRef<Path>>(paths: &[P]) -> Result<Self, Error> {
        let mut evidence = Self::default();
        let mut company = Company::default();
        for path in paths {
            let source = Source::open(path.as_ref())?;
            company.admit(&source)?;
            evidence.add(source)?;
        }
        Ok(evidence)
    }

    /// Adds what stands in `source`.
    ///
    /// # Errors
    /// When it cannot be read to its end, or says what cannot be.
    pub fn add<B: BufRead>(&mut self, source: Source<B>) -> Result<(), Error> {
        self.kinds.insert(source.kind());
        match source.kind() {
            Kind::Client => self.read_client(source),
            Kind::Orders => self.read_orders(source),
            Kind::Stock => self.read_stock(source),
            Kind::Faults => self.read_faults(source),
            Kind::Consensus => self.read_observations(source),
        }
    }

    /// Adds what clients of a simulation did and were told.
    pub fn add_operations(&mut self, operations: impl IntoIterator<Item = Operation>) {
        self.kinds.insert(Kind::Client);
        self.operations.extend(operations);
    }

    /// Adds the log of a simulated replica.
    pub fn add_order_log(&mut self, log: OrderLog) {
        self.kinds.insert(Kind::Orders);
        self.orders.push(log);
    }

    /// Adds the stock of a simulated replica.
    pub fn add_stock_report(&mut self, stock: StockReport) {
        self.kinds.insert(Kind::Stock);
        self.stocks.push(stock);
    }

    /// Adds faults that were injected into a simulation.
    pub fn add_faults(&mut self, faults: impl IntoIterator<Item = Fault>) {
        self.kinds.insert(Kind::Faults);
        self.faults.extend(faults);
    }

    /// Adds how simulated replicas saw their groups, in the order in which each was seen.
    pub fn add_observations(&mut self, observations: impl IntoIterator<Item = Observation>) {
        self.kinds.insert(Kind::Consensus);
        self.observations.extend(observations);
    }

    fn read_client<B: BufRead>(&mut self, source: Source<B>) -> Result<(), Error> {
        let mut operations = Operations::new(source.file());
        for event in source.records::<ClientEvent>()? {
            let (line, event) = event?;
            operations.add(line, event)?;
        }
        self.operations.extend(operations.finish());
        Ok(())
    }

    fn read_orders<B: BufRead>(&mut self, source: Source<B>) -> Result<(), Error> {
        let name = source.origin().source.clone();
        let mut orders = Vec::new();
        let end = read_to_end(source, |line| match line {
            OrdersLine::Order(order) => {
                orders.push(order);
                None
            }
            OrdersLine::End(end) => Some(end),
        })?;
        self.orders.push(OrderLog {
            source: name,
            orders,
            applied: end.applied,
        });
        Ok(())
    }

    fn read_stock<B: BufRead>(&mut self, source: Source<B>) -> Result<(), Error> {
        let name = source.origin().source.clone();
        let (mut items, mut outbox) = (Vec::new(), Vec::new());
        let end = read_to_end(source, |line| match line {
            StockLine::Item(item) => {
                items.push(item);
                None
            }
            StockLine::Outbox(trade) => {
                outbox.push(trade);
                None
            }
            StockLine::End(end) => Some(end),
        })?;
        self.stocks.push(StockReport {
            source: name,
            items,
            outbox,
            applied: end.applied,
            edits: end.edits,
        });
        Ok(())
    }

    fn read_faults<B: BufRead>(&mut self, source: Source<B>) -> Result<(), Error> {
        let mut faults = Faults::new(source.file());
        for event in source.records()? {
            let (line, event) = event?;
            faults.add(line, event)?;
        }
        self.faults.extend(faults.finish());
        Ok(())
    }

    fn read_observations<B: BufRead>(&mut self, source: Source<B>) -> Result<(), Error> {
        let mut records = source.records::<Observation>()?;
        let mut last = HashMap::new();
        while let Some(observation) = records.next() {
            let (_, observation) = observation?;
            let before = last.insert(observation.replica, observation.at);
            if let Some(before) = before.filter(|before| *before > observation.at) {
                return Err(records.source().error(Problem::TimeWentBack {
                    who: observation.replica.to_string(),
                    at: observation.at,
                    before,
                }));
            }
            self.observations.push(observation);
        }
        Ok(())
    }
}

/// Hands the lines to `take`, up to the one of which it makes the end.
fn read_to_end<R: crate::Record, B: BufRead, E>(
    source: Source<B>,
    mut take: impl FnMut(R) -> Option<E>,
) -> Result<E, Error> {
    let mut records = source.records::<R>()?;
    let mut end = None;
    while let Some(record) = records.next() {
        let (_, record) = record?;
        if end.is_some() {
            return Err(records.source().error(Problem::AfterEnd));
        }
        end = take(record);
    }
    end.ok_or_else(|| records.source().error(Problem::NoEnd))
}

/// Makes faults of their beginnings and ends.
#[derive(Debug)]
pub struct Faults {
    file: PathBuf,
    made: Vec<Fault>,
    /// The active ones, and their places in `made`.
    active: HashMap<u64, usize>,
    last: u64,
}

impl Faults {
    /// Of those in `file`, or which that names.
    pub fn new(file: impl Into<PathBuf>) -> Self {
        Self {
            file: file.into(),
            made: Vec::new(),
            active: HashMap::new(),
            last: 0,
        }
    }

    /// Adds what stands in `line`.
    ///
    /// # Errors
    /// When it does not follow from what was added before.
    pub fn add(&mut self, line: u64, event: FaultEvent) -> Result<(), Error> {
        let failed = |problem| Error {
            file: self.file.clone(),
            line: Some(line),
            problem,
        };
        let FaultEvent { at, fault, event } = event;
        if at < self.last {
            return Err(failed(Problem::TimeWentBack {
                who: "the faults".into(),
                at,
                before: self.last,
            }));
        }
        match event {
            FaultChange::Begin { what } => {
                if self.active.contains_key(&fault) {
                    return Err(failed(Problem::Fault(fault)));
                }
                self.active.insert(fault, self.made.len());
                let file = self.file.as_path().into();
                self.made.push(Fault {
                    place: Place { file, line },
                    what,
                    began: at,
                    ended: None,
                });
            }
            FaultChange::End {} => match self.active.remove(&fault) {
                Some(place) => self.made[place].ended = Some(at),
                None => return Err(failed(Problem::Fault(fault))),
            },
        }
        self.last = at;
        Ok(())
    }

    /// The faults, in the order in which they began.
    #[must_use]
    pub fn finish(self) -> Vec<Fault> {
        self.made
    }
}

/// The files that are read together.
#[derive(Debug, Default)]
struct Company {
    clock: Option<(String, PathBuf)>,
    cluster: Option<(String, PathBuf)>,
    replicas: HashMap<(Kind, String), PathBuf>,
}

impl Company {
    /// Makes sure that `source` goes with the others.
    fn admit(&mut self, source: &Source) -> Result<(), Error> {
        self.compare(source).map_err(|problem| Error {
            file: source.file().into(),
            line: Some(1),
            problem,
        })
    }

    fn compare(&mut self, source: &Source) -> Result<(), Problem> {
        let file = source.file();
        let Origin {
            source: name,
            cluster,
            clock,
        } = source.origin();
        if let Some((expected, other)) = differs(&mut self.clock, clock, file) {
            let found = clock.clone().unwrap_or_default();
            return Err(Problem::Clock {
                found,
                other,
                expected,
            });
        }
        if let Some((expected, other)) = differs(&mut self.cluster, cluster, file) {
            let found = cluster.clone().unwrap_or_default();
            return Err(Problem::Cluster {
                found,
                other,
                expected,
            });
        }
        if let Kind::Orders | Kind::Stock = source.kind() {
            let replica = (source.kind(), name.clone());
            if let Some(other) = self.replicas.insert(replica, file.into()) {
                return Err(Problem::SameSource {
                    source_name: name.clone(),
                    other,
                });
            }
        }
        Ok(())
    }
}

/// What was `known`, and of which file, where `found` is something else.
fn differs(
    known: &mut Option<(String, PathBuf)>,
    found: &Option<String>,
    file: &Path,
) -> Option<(String, PathBuf)> {
    let found = found.as_ref()?;
    match known {
        Some((expected, _)) if expected == found => None,
        Some(known) => Some(known.clone()),
        None => {
            *known = Some((found.clone(), file.into()));
            None
        }
    }
}
