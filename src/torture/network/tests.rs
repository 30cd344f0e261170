//! Real networks. Where this machine permits none, each test says so and passes.

use std::fs::{self, File};
use std::io::{self, BufRead as _, BufReader, ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use bazaar_rpc::net::{self, ClusterName, Greeting, Protocol, UNACKNOWLEDGED};
use nix::sched::{CloneFlags, setns};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::timeout;

use super::*;

/// How long something may take that happens for sure.
const LIMIT: Duration = Duration::from_secs(10);

/// How long to wait for what does not happen.
const SILENCE: Duration = Duration::from_millis(300);

fn host(name: &str) -> Host {
    match name {
        "machine" => Host::Machine,
        name => Host::Process(name.parse().unwrap()),
    }
}

/// A network of the hosts `order/1` to `order/3`; none where the machine permits none.
fn network() -> Option<Network> {
    let names = ["order/1", "order/2", "order/3"];
    let processes = names.map(|name| name.parse().unwrap());
    permitted(Network::create(&processes, 7))
}

/// What was made; none where this machine does not permit it. Any other failure is one.
fn permitted<T>(made: Result<T, NetworkError>) -> Option<T> {
    let reason = match made {
        Ok(made) => return Some(made),
        Err(reason) => reason,
    };
    let is_forbidden = match &reason {
        NetworkError::Device { .. } | NetworkError::Start { .. } => true,
        NetworkError::Failed { stderr, .. } => stderr.contains("Operation not permitted"),
        _ => false,
    };
    assert!(is_forbidden, "{reason}");
    eprintln!("SKIPPED: no network on this machine: {reason}");
    None
}

/// Does `work` on a host; the sockets that it opens stay there.
fn on<T: Send>(network: &Network, host: Host, work: impl FnOnce() -> T + Send) -> T {
    let namespace = network.site(host).unwrap().namespace.clone();
    let there = || {
        if let Some(name) = namespace {
            let namespace = File::open(format!("/run/netns/{name}")).unwrap();
            setns(namespace, CloneFlags::CLONE_NEWNET).unwrap();
        }
        work()
    };
    thread::scope(|scope| scope.spawn(there).join().unwrap())
}

/// Starts a service on a host that sends back what it gets.
fn echo(network: &Network, host: Host) -> SocketAddr {
    let address = network.address(host).unwrap();
    let listener = on(network, host, || TcpListener::bind((address, 0)).unwrap());
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            thread::spawn(move || io::copy(&mut stream.try_clone().unwrap(), &mut stream).ok());
        }
    });
    address
}

fn dial(network: &Network, from: Host, to: SocketAddr, limit: Duration) -> io::Result<TcpStream> {
    let stream = on(network, from, || TcpStream::connect_timeout(&to, limit))?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Sends a byte, and waits until it comes back.
fn round_trip(stream: &mut TcpStream, limit: Duration) -> io::Result<Duration> {
    let begin = Instant::now();
    stream.write_all(b"x")?;
    stream.set_read_timeout(Some(limit))?;
    stream.read_exact(&mut [0])?;
    Ok(begin.elapsed())
}

fn datagrams(network: &Network, host: Host) -> UdpSocket {
    let address = network.address(host).unwrap();
    let socket = on(network, host, || UdpSocket::bind((address, 0)).unwrap());
    socket.set_read_timeout(Some(SILENCE)).unwrap();
    socket
}

/// Whether a datagram gets from one socket to another.
fn arrives(from: &UdpSocket, to: &UdpSocket) -> bool {
    from.send_to(b"x", to.local_addr().unwrap()).unwrap();
    to.recv(&mut [0]).is_ok()
}

#[test]
fn hosts_reach_each_other() {
    let Some(network) = network() else { return };
    for (from, to) in [
        ("order/1", "order/2"),
        ("order/3", "order/1"),
        ("order/2", "order/2"),
        ("machine", "order/1"),
        ("order/1", "machine"),
    ] {
        let address = echo(&network, host(to));
        assert_eq!(address.ip(), network.address(host(to)).unwrap());
        let mut stream = dial(&network, host(from), address, LIMIT).unwrap();
        let source = stream.local_addr().unwrap().ip();
        assert_eq!(source, network.address(host(from)).unwrap());
        let time = round_trip(&mut stream, LIMIT).unwrap();
        eprintln!("{from} to {to} and back: {time:?}");
    }
}

#[test]
fn a_cut_is_silent_and_an_open_connection_goes_on_after_it() {
    let Some(network) = network() else { return };
    let (a, b) = (host("order/1"), host("order/2"));
    let address = echo(&network, b);
    let mut open = dial(&network, a, address, LIMIT).unwrap();
    round_trip(&mut open, LIMIT).unwrap();

    let cut = Fault::Cut { a, b };
    network.inject(cut.clone()).unwrap();
    let stalled = round_trip(&mut open, SILENCE).unwrap_err();
    assert_eq!(stalled.kind(), ErrorKind::WouldBlock);
    let silent = dial(&network, a, address, SILENCE).unwrap_err();
    assert_eq!(silent.kind(), ErrorKind::TimedOut);
    // Others are not concerned.
    let mut other = dial(&network, host("order/3"), address, LIMIT).unwrap();
    round_trip(&mut other, LIMIT).unwrap();

    let touched = network.heal(&cut).unwrap().unwrap();
    assert!(touched >= 2, "{touched}");
    open.set_read_timeout(Some(LIMIT)).unwrap();
    open.read_exact(&mut [0]).unwrap();
    round_trip(&mut open, LIMIT).unwrap();
    assert_eq!(network.heal(&cut).unwrap(), None);
}

#[test]
fn a_one_way_cut_lets_the_answers_through() {
    let Some(network) = network() else { return };
    let (from, to) = (host("order/1"), host("order/2"));
    let (one, two) = (datagrams(&network, from), datagrams(&network, to));
    network.inject(Fault::CutOneWay { from, to }).unwrap();
    assert!(!arrives(&one, &two));
    assert!(arrives(&two, &one));
    network.heal_all().unwrap();
    assert!(arrives(&one, &two));
}

#[test]
fn who_is_isolated_reaches_not_even_the_machine() {
    let Some(network) = network() else { return };
    let isolated = host("order/1");
    let one = datagrams(&network, isolated);
    let fault = Fault::Isolate { host: isolated };
    for name in ["order/2", "machine"] {
        let other = datagrams(&network, host(name));
        network.inject(fault.clone()).unwrap();
        assert!(!arrives(&one, &other));
        assert!(!arrives(&other, &one));
        network.heal(&fault).unwrap();
        assert!(arrives(&one, &other));
        assert!(arrives(&other, &one));
    }
}

#[test]
fn a_slow_link_is_slow_both_ways() {
    let Some(network) = network() else { return };
    let (a, b) = (host("order/1"), host("order/2"));
    let address = echo(&network, b);
    let mut stream = dial(&network, a, address, LIMIT).unwrap();
    let delay = Duration::from_millis(50);
    let quality = Quality {
        delay,
        jitter: Duration::from_millis(5),
        ..Quality::default()
    };
    let scope = Scope::LinkOf(b);
    let slow = Fault::Impair { scope, quality };
    network.inject(slow.clone()).unwrap();
    for _ in 0..5 {
        let time = round_trip(&mut stream, LIMIT).unwrap();
        assert!(time >= 2 * (delay - quality.jitter), "{time:?}");
        assert!(time < 10 * delay, "{time:?}");
    }
    network.heal(&slow).unwrap();
    let quickest = (0..20)
        .map(|_| round_trip(&mut stream, LIMIT).unwrap())
        .min();
    assert!(quickest.unwrap() < delay);
}

#[test]
fn a_lossy_link_loses_its_share() {
    let Some(network) = network() else { return };
    let (a, b) = (host("order/1"), host("order/2"));
    let (one, two) = (datagrams(&network, a), datagrams(&network, b));
    let quality = Quality {
        loss: 0.3,
        ..Quality::default()
    };
    let scope = Scope::Between(a, b);
    network.inject(Fault::Impair { scope, quality }).unwrap();
    let to = two.local_addr().unwrap();
    let receiver = thread::spawn(move || (0..).take_while(|_| two.recv(&mut [0]).is_ok()).count());
    for _ in 0..100 {
        for _ in 0..10 {
            one.send_to(b"x", to).unwrap();
        }
        thread::sleep(Duration::from_millis(1));
    }
    let received = receiver.join().unwrap();
    assert!((600..800).contains(&received), "{received}");
}

#[test]
fn two_networks_do_not_disturb_each_other() {
    let (Some(one), Some(other)) = (network(), network()) else {
        return;
    };
    assert_ne!(
        one.address(Host::Machine).unwrap(),
        other.address(Host::Machine).unwrap()
    );
    let isolated = host("order/1");
    one.inject(Fault::Isolate { host: isolated }).unwrap();
    let address = echo(&other, isolated);
    let mut stream = dial(&other, Host::Machine, address, LIMIT).unwrap();
    round_trip(&mut stream, LIMIT).unwrap();
    drop(one);
    round_trip(&mut stream, LIMIT).unwrap();
}

#[test]
fn a_prefix_puts_a_program_on_its_host() {
    let Some(()) = permitted(Network::probe()) else {
        return;
    };
    let network = network().unwrap();
    assert!(network.prefix(Host::Machine).unwrap().is_empty());
    let process = host("order/2");
    let prefix = network.prefix(process).unwrap();
    let mut command = Command::new(&prefix[0]);
    let output = command
        .args(&prefix[1..])
        .args(["ip", "address"])
        .output()
        .unwrap();
    let shown = String::from_utf8(output.stdout).unwrap();
    let address = format!(" {}/24 ", network.address(process).unwrap());
    assert!(shown.contains(&address), "{shown}");
}

#[test]
fn a_fault_of_somebody_else_is_refused() {
    let Some(network) = network() else { return };
    let host = host("catalog/1");
    let refused = network.inject(Fault::Isolate { host }).unwrap_err();
    assert_eq!(refused.to_string(), "catalog/1 is not on this network");
}

/// The product's own connections find out that they lead nowhere.
#[test]
fn a_connection_between_services_ends_when_its_link_is_cut() {
    let Some(network) = network() else { return };
    let cluster: ClusterName = "torture".parse().unwrap();
    let service: ServiceName = "order/1".parse().unwrap();
    let caller: ServiceName = "order/2".parse().unwrap();
    let runtime = || {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        builder.enable_all().build().unwrap()
    };
    let (tell, told) = oneshot::channel();
    let address = network.address(service).unwrap();
    thread::scope(|scope| {
        let welcome = async {
            let listener = net::TcpListener::bind((address, 0)).await.unwrap();
            tell.send(listener.local_addr().unwrap()).unwrap();
            let (mut stream, _) = listener.accept().await.unwrap();
            let serves = |_| Some(());
            net::welcome(&mut stream, &cluster, service, serves)
                .await
                .unwrap();
            // Who only sends finds out as well.
            stream.write_all(b"x").await.unwrap();
            let ended = timeout(LIMIT * 3, stream.read_u16()).await;
            ended.expect("it never ends").unwrap_err()
        };
        let network = &network;
        let end = scope.spawn(move || on(network, service.into(), || runtime().block_on(welcome)));
        let greeting = Greeting {
            cluster: cluster.clone(),
            protocol: Protocol::Orders,
            service,
        };
        let call = async {
            let address = told.await.unwrap();
            let mut stream = net::dial(address, &greeting).await.unwrap();
            stream.read_exact(&mut [0]).await.unwrap();
            let (a, b) = (service.into(), caller.into());
            network.inject(Fault::Cut { a, b }).unwrap();
            let cut = Instant::now();
            stream.write_all(b"x").await.unwrap();
            let ended = timeout(LIMIT, stream.read_u8()).await;
            let ended = ended.expect("it never ends").unwrap_err();
            assert_eq!(ended.kind(), ErrorKind::TimedOut);
            cut.elapsed()
        };
        let time = on(network, caller.into(), || runtime().block_on(call));
        assert!(
            (UNACKNOWLEDGED..UNACKNOWLEDGED * 2).contains(&time),
            "{time:?}"
        );
        // The other end has nothing to send; the idle connection is found out later.
        network.heal_all().unwrap();
        eprintln!("the other end: {}", end.join().unwrap());
    });
}

/// The traces of a network: its namespaces, and the machine's device.
fn traces(network: &Network) -> Vec<String> {
    let names = network
        .sites
        .iter()
        .filter_map(|site| site.namespace.as_ref());
    let names = names.map(|name| format!("/run/netns/{name}"));
    let [_, high, low, _] = network.address(Host::Machine).unwrap().octets();
    let range = u16::from_be_bytes([high - 18, low]);
    names
        .chain([format!("/proc/sys/net/ipv4/conf/bazaar{range}")])
        .collect()
}

fn exists(path: &String) -> bool {
    fs::exists(path).unwrap()
}

#[test]
fn a_network_that_is_dropped_leaves_nothing_behind() {
    let Some(network) = network() else { return };
    let traces = traces(&network);
    assert_eq!(traces.len(), 4);
    assert!(traces.iter().all(exists), "{traces:?}");
    drop(network);
    assert!(!traces.iter().any(exists), "{traces:?}");
}

#[test]
#[ignore = "run by the next test, which kills it"]
fn an_owner_that_never_ends() {
    let Some(network) = network() else { return };
    println!("\nTRACES {}", traces(&network).join(" "));
    loop {
        thread::park();
    }
}

/// A child process, killed at the end of the test.
struct Owner(Child);

impl Owner {
    fn kill(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.kill();
    }
}

#[test]
fn the_next_network_removes_what_a_killed_owner_left() {
    if network().is_none() {
        return;
    }
    let child = Command::new(std::env::current_exe().unwrap())
        .arg("torture::network::tests::an_owner_that_never_ends")
        .args(["--exact", "--ignored", "--nocapture"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut owner = Owner(child);
    let lines = BufReader::new(owner.0.stdout.take().unwrap()).lines();
    let mut lines = lines.map(Result::unwrap);
    let traces = lines.find_map(|line| line.strip_prefix("TRACES ").map(str::to_owned));
    let traces: Vec<String> = traces.unwrap().split(' ').map(str::to_owned).collect();
    // Another network that comes while the owner lives spares it.
    drop(network());
    assert!(traces.iter().all(exists), "{traces:?}");

    owner.kill();
    drop(network());
    assert!(!traces.iter().any(exists), "{traces:?}");
}
