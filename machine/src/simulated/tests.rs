use std::io::{ErrorKind, Read as _, Seek as _, SeekFrom, Write as _};
use std::net::Ipv4Addr;
use std::path::Path;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::timeout;

use super::files::{self, File};
use super::net::{TcpListener, TcpStream, limit_silence};
use super::{Fsync, Machine, task};

fn machine(seed: u64) -> Machine {
    Machine::new(Ipv4Addr::LOCALHOST.into(), seed)
}

/// Runs `process` on `machine` to its end.
fn run<T>(machine: &Machine, process: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    runtime.block_on(machine.run(process))
}

/// Writes `old`, synced, and then `new`, not synced.
async fn write(path: &Path, old: &[u8], new: &[u8]) {
    files::create_dir_all(path.parent().unwrap()).unwrap();
    let mut file = File::create(path).unwrap();
    file.write_all(old).unwrap();
    file.sync_all().unwrap();
    file.write_all(new).unwrap();
}

#[test]
fn a_killed_process_leaves_behind_what_it_has_written() {
    let machine = machine(1);
    let path = Path::new("/data/file");
    run(&machine, write(path, b"old", b"new"));
    machine.kill();
    let left = run(&machine, async { files::read(path) });
    assert_eq!(left.unwrap(), b"oldnew");
}

#[test]
fn a_power_loss_leaves_what_was_synced_and_a_part_of_what_was_appended() {
    let path = Path::new("/data/file");
    let left = |seed| {
        let machine = machine(seed);
        run(&machine, write(path, b"old", b"new"));
        machine.lose_power();
        run(&machine, async { files::read(path) }).unwrap()
    };
    let lengths: std::collections::BTreeSet<usize> = (0..64)
        .map(|seed| {
            let left = left(seed);
            assert!(
                b"oldnew".starts_with(&left[..]) && left.len() >= 3,
                "{left:?}"
            );
            assert_eq!(left, self::machine(seed).run_twice(path), "seed {seed}");
            left.len()
        })
        .collect();
    assert_eq!(lengths, [3, 4, 5, 6].into());
}

impl Machine {
    /// What the same seed leaves on another machine.
    fn run_twice(&self, path: &Path) -> Vec<u8> {
        run(self, write(path, b"old", b"new"));
        self.lose_power();
        run(self, async { files::read(path) }).unwrap()
    }
}

#[test]
fn a_rename_does_not_sync_what_it_renames() {
    let machine = machine(1);
    let lost = run(&machine, async {
        write(Path::new("/data/file"), b"old", b"").await;
        let mut aside = File::create("/data/file.new").unwrap();
        aside.write_all(b"new").unwrap();
        files::rename("/data/file.new", "/data/file").unwrap();
        File::open("/data").unwrap().sync_all().unwrap();
        machine.lose_power();
        machine.disk().own();
        files::read("/data/file").unwrap()
    });
    assert!(b"new".starts_with(&lost[..]), "{lost:?}");
    assert_ne!(lost, b"old");
}

#[test]
fn a_sync_that_fails_or_lies_syncs_nothing() {
    for (fsync, succeeds) in [(Fsync::Fails, false), (Fsync::Lies, true)] {
        let machine = machine(2);
        let path = Path::new("/data/file");
        run(&machine, async {
            write(path, b"old", b"").await;
            machine.disk().set_fsync(fsync);
            let mut file = File::open(path).unwrap();
            file.seek(SeekFrom::End(0)).unwrap();
            file.write_all(&[b'x'; 1000]).unwrap();
            assert_eq!(file.sync_all().is_ok(), succeeds);
        });
        machine.lose_power();
        let left = run(&machine, async { files::read(path) }).unwrap();
        assert!(left.len() < 1003, "{}", left.len());
    }
}

#[test]
fn a_full_disk_takes_nothing() {
    let machine = machine(1);
    machine.disk().set_full(true);
    let written = run(&machine, async {
        File::create("/file").unwrap().write(b"x")
    });
    assert_eq!(written.unwrap_err().kind(), std::io::ErrorKind::StorageFull);
}

#[test]
fn the_destructors_of_a_killed_process_change_nothing() {
    let machine = machine(1);
    let mut file = run(&machine, async { File::create("/file").unwrap() });
    machine.kill();
    assert!(file.write(b"x").is_err());
    let _entered = machine.enter();
    assert!(files::remove_file("/file").is_err());
}

#[test]
fn a_paused_machine_runs_nothing_until_it_goes_on() {
    let machine = machine(1);
    run(&machine, async {
        let work = task::spawn(async {
            tokio::time::sleep(Duration::from_millis(10)).await;
            tokio::time::Instant::now()
        });
        let begun = tokio::time::Instant::now();
        tokio::task::yield_now().await;
        machine.pause();
        let resume = machine.clone();
        drop(tokio::spawn(async move {
            tokio::time::sleep(Duration::from_millis(50)).await;
            resume.resume();
        }));
        let ended = work.await.unwrap();
        assert!(ended - begun >= Duration::from_millis(50));
    });
}

#[test]
fn files_are_found_by_name_and_read_from_anywhere() {
    let machine = machine(1);
    run(&machine, async {
        write(Path::new("/a/b/file"), b"0123", b"4567").await;
        files::rename("/a/b", "/a/c").unwrap();
        assert!(!files::exists("/a/b/file").unwrap());
        let mut file = File::open("/a/c/file").unwrap();
        file.seek(SeekFrom::Start(6)).unwrap();
        let mut rest = String::new();
        file.read_to_string(&mut rest).unwrap();
        assert_eq!(rest, "67");
        let names: Vec<_> = files::read_dir("/a")
            .unwrap()
            .map(|it| it.unwrap().path())
            .collect();
        assert_eq!(names, [Path::new("/a/c")]);
        files::remove_dir_all("/a").unwrap();
        assert!(files::read_dir("/a").is_err());
    });
}

#[test]
fn a_connection_across_a_cut_is_given_up_and_what_was_sent_is_lost() {
    const MENDED: Duration = Duration::from_secs(5);
    let seconds = Duration::from_secs;
    let mut sim = turmoil::Builder::new()
        .tick_duration(Duration::from_millis(5))
        .simulation_duration(seconds(60))
        .build();
    let (a, b) = (sim.lookup("a"), sim.lookup("b"));
    let (here, there) = (Machine::new(a, 1), Machine::new(b, 2));
    let (caller, server) = (here.clone(), there.clone());
    sim.client("b", async move {
        let serve = async {
            let listener = TcpListener::bind((b, 1).into()).await?;
            let (mut stream, _) = listener.accept().await?;
            limit_silence(&stream, seconds(2), seconds(10))?;
            assert_eq!(
                stream.read(&mut [0; 9]).await?,
                1,
                "what came before the cut"
            );
            let more = timeout(seconds(7), stream.read(&mut [0; 9])).await;
            assert!(
                more.is_err(),
                "{more:?}: given up by the other end, unknown at this one"
            );
            stream.write_all(b"?").await?;
            stream.read(&mut [0; 9]).await
        };
        let ended = server.run(serve).await.unwrap_err();
        assert_eq!(ended.kind(), ErrorKind::ConnectionReset);
        Ok(())
    });
    sim.client("a", async move {
        let call = async {
            let mut stream = TcpStream::connect((b, 1).into()).await?;
            limit_silence(&stream, seconds(2), seconds(10))?;
            stream.write_all(b"1").await?;
            tokio::time::sleep(seconds(2)).await;
            stream.write_all(b"2").await?;
            stream.read(&mut [0; 9]).await
        };
        let ended = caller.run(call).await.unwrap_err();
        assert_eq!(ended.kind(), ErrorKind::TimedOut);
        let now = turmoil::sim_elapsed().unwrap();
        assert!(now >= seconds(4) && now < MENDED, "{now:?}");
        // The kernel stays.
        tokio::time::sleep(seconds(8)).await;
        Ok(())
    });
    let mut cut = None;
    while !sim.step().unwrap() {
        let now = sim.elapsed();
        if now >= seconds(1) && cut.is_none() {
            cut = Some(now);
            sim.hold(a, b);
            here.begin_silence(b);
            there.begin_silence(a);
        }
        let Some(since) = cut.filter(|_| now < MENDED) else {
            sim.release(a, b);
            continue;
        };
        for (local, remote) in here.end_silent(b, since, now) {
            there.orphan(remote, local);
        }
        assert!(
            there.end_silent(a, since, now).is_empty(),
            "it has sent nothing"
        );
    }
}
