//! A lab that is kept up: its page on a port of the machine's own, and orders by lines of text.

use std::io::{self, BufRead as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, TryRecvError, channel};

use anyhow::{Context as _, Result};

use crate::daemons::{Daemons, exporter_name};
use crate::faults;
use crate::lab::Lab;
use crate::net::Namespace;

/// Makes the first exporter's page reachable at `listen`, an address of the machine's own
/// loopback; gives the address that it got. Lasts as long as the process.
pub fn forward_page(exporter: &Namespace, listen: SocketAddr) -> Result<SocketAddr> {
    let listener = TcpListener::bind(listen).with_context(|| format!("cannot bind {listen}"))?;
    let address = listener.local_addr()?;
    let exporter = exporter.clone();
    spawn(move || {
        for reader in listener.incoming().map_while(Result::ok) {
            let exporter = exporter.clone();
            // One that cannot be served is closed: what a dead exporter does.
            let _ = spawn(move || {
                let _ = carry(&exporter, reader);
            });
        }
    })?;
    Ok(address)
}

fn spawn(work: impl FnOnce() + Send + 'static) -> io::Result<()> {
    let thread = std::thread::Builder::new().name("page".to_owned());
    thread.spawn(work).map(drop)
}

/// Both ways between a reader and the page, until both have ended.
fn carry(exporter: &Namespace, reader: TcpStream) -> Result<()> {
    let page = exporter.inside(|| TcpStream::connect(Daemons::page(0)))??;
    let (mut from, mut to) = (reader.try_clone()?, page.try_clone()?);
    spawn(move || {
        let _ = io::copy(&mut from, &mut to);
        let _ = to.shutdown(std::net::Shutdown::Write);
    })?;
    let (mut from, mut to) = (page, reader);
    io::copy(&mut from, &mut to)?;
    to.shutdown(std::net::Shutdown::Write)?;
    Ok(())
}

/// Lines of standard input; none after its end.
pub struct Orders(Receiver<String>);

impl Orders {
    /// Begins to read.
    pub fn read() -> Result<Self> {
        let (tell, orders) = channel();
        spawn(move || {
            for line in io::stdin().lock().lines().map_while(Result::ok) {
                if tell.send(line).is_err() {
                    return;
                }
            }
        })?;
        Ok(Self(orders))
    }

    /// Carries out what was ordered meanwhile, and says so: `break ROW`, `heal ROW`,
    /// `stop exporter`, `start exporter`.
    pub fn obey(&self, lab: &mut Lab) -> Result<()> {
        loop {
            match self.0.try_recv() {
                Ok(order) => match obey(lab, order.trim()) {
                    Ok(()) => println!("done {}", order.trim()),
                    Err(error) => println!("failed {}: {error:#}", order.trim()),
                },
                Err(TryRecvError::Empty | TryRecvError::Disconnected) => return Ok(()),
            }
        }
    }
}

fn obey(lab: &mut Lab, order: &str) -> Result<()> {
    let pnwatch = "the lab runs without pnwatch";
    match order.split_once(' ') {
        Some(("break", row)) => {
            let fault = faults::fault(row)?;
            (fault.prepare)(lab)?;
            (fault.inject)(lab).map(drop)
        }
        Some(("heal", row)) => (faults::fault(row)?.heal)(lab),
        Some(("stop", "exporter")) => lab.processes.kill(&exporter_name(0)),
        Some(("start", "exporter")) => {
            let daemons = lab.daemons.as_ref().context(pnwatch)?;
            daemons.start_exporter(&mut lab.processes, 0)?;
            daemons.wait_exporter(&mut lab.processes, 0)
        }
        _ => anyhow::bail!("orders are: break ROW, heal ROW, stop exporter, start exporter"),
    }
}
