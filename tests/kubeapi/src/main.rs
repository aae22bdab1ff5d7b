//! `pnwatch-kubeapi`: the fake API server as a process of its own.

use std::{fs, net::SocketAddr, path::PathBuf};

use anyhow::Context as _;
use clap::Parser;
use pnwatch_kubeapi::{ADMIN_TOKEN, FakeApi, Options, documents};

/// A small fake Kubernetes API server for tests. It is no place to keep anything.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// Address to listen on; port 0 lets the kernel choose
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// File with objects to start with, YAML (several documents) or JSON; may be repeated
    #[arg(long, value_name = "FILE")]
    load: Vec<PathBuf>,
    /// Write a kubeconfig for the all-powerful caller to this file
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let api = FakeApi::try_start(Options {
        listen: arguments.listen,
        ..Options::default()
    })
    .with_context(|| {
        format!(
            "cannot listen on {}; choose another --listen",
            arguments.listen
        )
    })?;
    for file in &arguments.load {
        let text =
            fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
        let objects = documents(&text)
            .with_context(|| format!("{} is neither YAML nor JSON", file.display()))?;
        for object in objects {
            api.apply(object)
                .with_context(|| format!("an object of {} was refused", file.display()))?;
        }
    }
    if let Some(file) = &arguments.kubeconfig {
        fs::write(file, api.kubeconfig(ADMIN_TOKEN))
            .with_context(|| format!("cannot write {}", file.display()))?;
    }
    println!("{}", api.url());
    api.wait();
    Ok(())
}
