//! Jumps of one process's wall clock, by libfaketime.
//!
//! The library is preloaded into the process and reads from a file, at every look at the clock, by
//! how much it is to lie. The monotonic clock stays as it is.

use std::fs;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

use rustix::fs::inotify::{self, ReadFlags};
use rustix::io::Errno;

/// Where the library may lie, for whom the environment names no other place.
const PLACES: [&str; 5] = [
    "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1",
    "/usr/lib/aarch64-linux-gnu/faketime/libfaketimeMT.so.1",
    "/usr/lib64/faketime/libfaketimeMT.so.1",
    "/usr/lib/faketime/libfaketimeMT.so.1",
    "/usr/local/lib/faketime/libfaketimeMT.so.1",
];

/// The environment variable that names the library.
const VARIABLE: &str = "BAZAAR_LIBFAKETIME";

/// How far the probe jumps.
const PROBE: Duration = Duration::from_hours(1);

/// Which way a clock jumps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Jump {
    Ahead(Duration),
    Back(Duration),
}

/// Why no clock can be made to jump.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ClockError {
    /// The library is not there.
    #[error(
        "there is no libfaketimeMT.so.1: install it (Debian's package libfaketime), or name its file in {VARIABLE}"
    )]
    NoLibrary,
    /// A program did not see the jump.
    #[error("{library}: has no effect: {reason}")]
    NoEffect {
        /// The library.
        library: PathBuf,
        /// What the probe saw.
        reason: String,
    },
    /// Its control cannot be written, or the probe not be run.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What happened.
        source: io::Error,
    },
}

/// The wall clock of one process.
#[derive(Debug)]
pub(crate) struct Clock {
    faketime: PathBuf,
    control: PathBuf,
}

impl Clock {
    /// A clock whose control is the file `control`. It goes right.
    ///
    /// # Errors
    /// When there is no library, or the file cannot be written.
    pub(crate) fn new(control: &Path) -> Result<Self, ClockError> {
        let faketime = match std::env::var_os(VARIABLE) {
            Some(named) => Some(PathBuf::from(named)),
            None => PLACES.iter().map(PathBuf::from).find(|it| it.exists()),
        };
        let faketime = faketime
            .filter(|it| it.exists())
            .ok_or(ClockError::NoLibrary)?;
        let clock = Self {
            faketime,
            control: control.into(),
        };
        clock.set_right()?;
        Ok(clock)
    }

    /// Whether clocks can be made to jump on this machine: a program is run, and asked for the time
    /// before and after.
    ///
    /// # Errors
    /// Why not.
    pub(crate) fn probe(scratch: &Path) -> Result<(), ClockError> {
        let clock = Self::new(&scratch.join("probe.clock"))?;
        for jump in [Jump::Ahead(PROBE), Jump::Back(PROBE)] {
            clock.jump(jump)?;
            let (expected, seen) = (jump.from(SystemTime::now()), clock.ask()?);
            let distance = seen
                .duration_since(expected)
                .unwrap_or_else(|error| error.duration());
            if distance > PROBE / 60 {
                let reason = format!("`date` is {distance:?} off after a jump: {jump:?}");
                return Err(ClockError::NoEffect {
                    library: clock.faketime,
                    reason,
                });
            }
        }
        fs::remove_file(&clock.control).map_err(|source| clock.failed(source))
    }

    /// What the process is to be started with.
    pub(crate) fn environment(&self) -> [(&'static str, String); 5] {
        [
            ("LD_PRELOAD", self.faketime.display().to_string()),
            (
                "FAKETIME_TIMESTAMP_FILE",
                self.control.display().to_string(),
            ),
            ("FAKETIME_NO_CACHE", "1".into()),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1".into()),
            // Its name before libfaketime 0.9.9.
            ("DONT_FAKE_MONOTONIC", "1".into()),
        ]
    }

    /// From now on the process's clock is that far from the right time. Returns who looks at it.
    ///
    /// # Errors
    /// When the control cannot be written.
    pub(crate) fn jump(&self, jump: Jump) -> Result<Looks, ClockError> {
        let (sign, by) = match jump {
            Jump::Ahead(by) => ('+', by),
            Jump::Back(by) => ('-', by),
        };
        let aside = self.control.with_added_extension("new");
        let write = || {
            fs::write(&aside, format!("{sign}{}\n", by.as_secs_f64()))?;
            let looks = Looks::at(&aside)?;
            fs::rename(&aside, &self.control)?;
            Ok(looks)
        };
        write().map_err(|source| self.failed(source))
    }

    /// The process's clock goes right again: another jump.
    ///
    /// # Errors
    /// When the control cannot be written.
    pub(crate) fn set_right(&self) -> Result<(), ClockError> {
        self.jump(Jump::Ahead(Duration::ZERO)).map(drop)
    }

    /// What a program believes the time is.
    fn ask(&self) -> Result<SystemTime, ClockError> {
        let mut date = Command::new("date");
        let output = date.arg("+%s").envs(self.environment()).output();
        let output = output.map_err(|source| ClockError::Io {
            path: "date".into(),
            source,
        })?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        match text.trim().parse() {
            Ok(seconds) => Ok(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)),
            Err(_) => Err(ClockError::NoEffect {
                library: self.faketime.clone(),
                reason: format!("`date` says {text:?}, {}", output.status),
            }),
        }
    }

    fn failed(&self, source: io::Error) -> ClockError {
        ClockError::Io {
            path: self.control.clone(),
            source,
        }
    }
}

/// The looks at a clock since it jumped. The library reads the control at each.
#[derive(Debug)]
pub(crate) struct Looks(OwnedFd);

impl Looks {
    fn at(control: &Path) -> io::Result<Self> {
        let looks = inotify::init(inotify::CreateFlags::NONBLOCK | inotify::CreateFlags::CLOEXEC)?;
        // With the end of each look the beginnings of two are no repetition, which would count once.
        let events = inotify::WatchFlags::OPEN | inotify::WatchFlags::CLOSE_NOWRITE;
        inotify::add_watch(&looks, control, events)?;
        Ok(Self(looks))
    }

    /// How many there were; there may have been more than the kernel remembers.
    ///
    /// # Errors
    /// When the kernel does not say.
    pub(crate) fn count(&self) -> io::Result<u64> {
        let mut buffer = [MaybeUninit::uninit(); 4096];
        let mut events = inotify::Reader::new(&self.0, &mut buffer);
        let mut count = 0;
        loop {
            match events.next() {
                Ok(event) => count += u64::from(event.events().contains(ReadFlags::OPEN)),
                Err(Errno::AGAIN) => return Ok(count),
                Err(error) => return Err(error.into()),
            }
        }
    }
}

impl Jump {
    /// Where a clock is after it.
    fn from(self, time: SystemTime) -> SystemTime {
        match self {
            Self::Ahead(by) => time + by,
            Self::Back(by) => time - by,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead as _, BufReader, Write as _};
    use std::process::Stdio;
    use std::time::Instant;

    use super::*;

    /// What makes this test program the child that looks at its clocks.
    const CHILD: &str = "BAZAAR_TEST_CLOCK_CHILD";

    /// For each line that it reads, the child says what its clocks show.
    fn be_child() {
        let begin = Instant::now();
        for _ in std::io::stdin().lock().lines() {
            let wall = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
            let (wall, monotonic) = (wall.unwrap().as_secs(), begin.elapsed().as_secs());
            println!("clocks {wall} {monotonic}");
        }
    }

    #[test]
    fn the_wall_clock_of_a_running_process_jumps_and_its_monotonic_clock_does_not() {
        if std::env::var_os(CHILD).is_some() {
            return be_child();
        }
        let dir = tempfile::tempdir().unwrap();
        if let Err(error) = Clock::probe(dir.path()) {
            eprintln!("SKIPPED: {error}");
            return;
        }
        let clock = Clock::new(&dir.path().join("clock")).unwrap();
        let name = std::thread::current().name().unwrap().to_owned();
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", &name, "--nocapture"])
            .env(CHILD, "1")
            .envs(clock.environment())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut to_child = child.stdin.take().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut look = || {
            writeln!(to_child, "look").unwrap();
            let mut lines = lines.by_ref().map(Result::unwrap);
            let line = lines.find(|line| line.contains("clocks ")).unwrap();
            let mut clocks = line.split_once("clocks ").unwrap().1.split(' ');
            let mut next = || clocks.next().unwrap().parse::<u64>().unwrap();
            (next(), next())
        };
        let (before, _) = look();
        let looks = clock.jump(Jump::Ahead(PROBE)).unwrap();
        assert_eq!(looks.count().unwrap(), 0);
        let (ahead, monotonic) = look();
        assert!(looks.count().unwrap() > 0);
        assert!(ahead - before >= PROBE.as_secs() && monotonic < 600);
        clock.jump(Jump::Back(PROBE)).unwrap();
        let (back, monotonic) = look();
        assert!(before - back >= PROBE.as_secs() - 600 && monotonic < 600);
        clock.set_right().unwrap();
        let (right, _) = look();
        assert!(right >= before && right - before < 600);
        drop(to_child);
        assert!(child.wait().unwrap().success());
    }
}
