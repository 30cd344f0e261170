//! Turns `proto/bazaar.proto` into Rust. protox reads it, so that no `protoc` has to be installed.

use anyhow::Context as _;

fn main() -> anyhow::Result<()> {
    println!("cargo::rerun-if-changed=proto");
    let files = protox::compile(["bazaar.proto"], ["proto"])?;
    tonic_prost_build::configure()
        .build_transport(false)
        .compile_fds(files)
        .context("bazaar.proto")
}
