//! Runs one seed.

#[cfg(feature = "simulate")]
fn main() -> anyhow::Result<()> {
    use std::time::Duration;

    use bazaar_simulation::{Settings, World};

    let seed: u64 = std::env::args().nth(1).unwrap_or_default().parse()?;
    let seconds: u64 = std::env::args().nth(2).unwrap_or("10".into()).parse()?;
    World::isolated(seed, || {
        let mut world = World::new(&Settings::from_seed(seed));
        let outcome = world.run_for(Duration::from_secs(seconds));
        for line in world.trace().lines() {
            eprintln!("{line}");
        }
        eprintln!("{:016x}", world.trace().digest());
        outcome
    })
}

#[cfg(not(feature = "simulate"))]
fn main() {}
