//! One small network of a row: prober's machine, switch, node, with the real link watch and
//! witness on the node and real peers that misbehave.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use pnwatch_edge::clock::{SharedClock, SystemClock};
use pnwatch_prober::link::Leg;
use pnwatch_prober::link::netlink;
use pnwatch_prober::witness::{self, Snapshot};
use tokio::sync::watch;

use crate::net::{Cable, Namespace, Namespaces};

pub(super) const OWN_DEVICE: &str = "vlan0";
pub(super) const NODE_DEVICE: &str = "pn0";
pub(super) const NODE_PORT_NAME: &str = "node";
pub(super) const OWN: Ipv4Addr = Ipv4Addr::new(172, 16, 0, 11);
pub(super) const NODE: Ipv4Addr = Ipv4Addr::new(172, 16, 0, 2);
/// How long the link watch and the witness may take to begin.
const BEGIN: Duration = Duration::from_secs(10);

/// See the [module](self).
#[derive(Debug)]
pub struct Wire {
    /// The prober's machine.
    pub own: Namespace,
    /// Between the two.
    pub switch: Namespace,
    /// The node.
    pub node: Namespace,
    /// The prober's own leg, followed over netlink.
    pub own_leg: watch::Receiver<Option<Leg>>,
    /// The node's leg.
    pub node_leg: watch::Receiver<Option<Leg>>,
    /// What the node's witness says.
    pub heard: watch::Receiver<Option<Snapshot>>,
}

impl Wire {
    /// Builds it and waits until everything watches.
    pub fn create(namespaces: &mut Namespaces, role: &str) -> Result<Self> {
        let switch = namespaces.create(&format!("{role}s"))?;
        switch.add_bridge("pn")?;
        let own = namespaces.create(&format!("{role}o"))?;
        let node = namespaces.create(&format!("{role}n"))?;
        for (machine, device, mac, port, address) in [
            (&own, OWN_DEVICE, "02:00:ac:10:00:0b", "own", OWN),
            (
                &node,
                NODE_DEVICE,
                "02:00:ac:10:00:02",
                NODE_PORT_NAME,
                NODE,
            ),
        ] {
            Cable {
                machine,
                device,
                mac,
                switch: &switch,
                bridge: "pn",
                port,
            }
            .plug()?;
            machine.ip(&format!("addr add {address}/22 dev {device}"))?;
        }
        serve(&node)?;
        let (own_leg, _) = follow(&own, OWN_DEVICE, NODE, false)?;
        let (node_leg, heard) = follow(&node, NODE_DEVICE, OWN, true)?;
        let wire = Self {
            own,
            switch,
            node,
            own_leg,
            node_leg,
            heard,
        };
        let begins = || {
            wire.own_leg
                .borrow()
                .as_ref()
                .is_some_and(|l| l.source == Some(OWN))
                && wire
                    .node_leg
                    .borrow()
                    .as_ref()
                    .is_some_and(|l| l.source == Some(NODE))
                && wire.heard.borrow().is_some()
        };
        let end = Instant::now() + BEGIN;
        while !begins() {
            if Instant::now() > end {
                bail!("link watch and witness do not begin");
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(wire)
    }
}

type Followed = (
    watch::Receiver<Option<Leg>>,
    watch::Receiver<Option<Snapshot>>,
);

/// Follows a device (and watches it) on a thread inside the namespace, as long as the process
/// lives: the namespace goes when its name and this thread are gone.
fn follow(namespace: &Namespace, device: &str, to: Ipv4Addr, watched: bool) -> Result<Followed> {
    let (leg_tell, leg) = watch::channel(None);
    let (tell, heard) = watch::channel(None);
    let (namespace, device) = (namespace.clone(), device.to_owned());
    let of_witness = leg.clone();
    let pn = "172.16.0.0/22".parse().context("the PN")?;
    std::thread::Builder::new()
        .name("follow".into())
        .spawn(move || {
            let run = || -> Result<()> {
                namespace.enter()?;
                let runtime = tokio::runtime::Builder::new_current_thread()
                    .enable_all()
                    .build()?;
                let clock: SharedClock = Arc::new(SystemClock::new());
                let (_keep, target) = watch::channel(Some(to));
                runtime.block_on(async {
                    let link = netlink::follow(device, pn, target, clock.clone(), leg_tell);
                    if watched {
                        tokio::join!(link, witness::follow(of_witness, clock, tell));
                    } else {
                        link.await;
                    }
                });
                Ok(())
            };
            if let Err(error) = run() {
                eprintln!("pnwatch-lab: cannot follow a device: {error:#}");
            }
        })?;
    Ok((leg, heard))
}

/// How a peer answers.
#[derive(Debug, Clone, Copy)]
enum Manner {
    Says(&'static str),
    SaysAndStays(&'static str),
    Hangs,
    Closes,
    Resets,
}

const PEERS: [(u16, Manner); 8] = [
    (
        31001,
        Manner::Says("HTTP/1.1 200 OK\r\ncontent-length: 18\r\n\r\n{\"tenant_id\":\"t1\"}"),
    ),
    (
        31002,
        Manner::Says("HTTP/1.1 500 X\r\ncontent-length: 2\r\n\r\n{}"),
    ),
    (31013, Manner::Hangs),
    (31014, Manner::Closes),
    (31114, Manner::Resets),
    (
        31015,
        Manner::SaysAndStays("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n"),
    ),
    (31016, Manner::SaysAndStays("220 mail ready\r\n")),
    (
        31017,
        Manner::Says("HTTP/1.1 200 OK\r\ncontent-length: 18\r\n\r\n{\"tenant_id\":\"t2\"}"),
    ),
];

fn serve(node: &Namespace) -> Result<()> {
    let listeners = node.inside(|| {
        let bind = |port| TcpListener::bind((Ipv4Addr::UNSPECIFIED, port));
        let listeners: std::io::Result<Vec<_>> = PEERS
            .iter()
            .map(|(port, manner)| Ok((bind(*port)?, *manner)))
            .collect();
        fill_queue()?;
        listeners
    })??;
    for (listener, manner) in listeners {
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                std::thread::spawn(move || answer(stream, manner));
            }
        });
    }
    Ok(())
}

/// A listener without room: the kernel drops further SYNs. Kept for good.
fn fill_queue() -> std::io::Result<()> {
    use socket2::{Domain, SockAddr, Socket, Type};
    let address = SockAddr::from(std::net::SocketAddr::from((NODE, 31012)));
    let listener = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    listener.bind(&address)?;
    listener.listen(1)?;
    for _ in 0..8 {
        let client = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        if client
            .connect_timeout(&address, Duration::from_millis(100))
            .is_ok()
        {
            std::mem::forget(client);
        }
    }
    std::mem::forget(listener);
    Ok(())
}

fn answer(mut stream: TcpStream, manner: Manner) {
    let mut buffer = [0u8; 2048];
    // What a peer meets on the way is its own affair: the prober judges.
    let _ = stream.read(&mut buffer);
    match manner {
        Manner::Says(text) => {
            let _ = stream.write_all(text.as_bytes());
        }
        Manner::SaysAndStays(text) => {
            let _ = stream.write_all(text.as_bytes());
            let _ = stream.read(&mut buffer);
        }
        Manner::Hangs => {
            let _ = stream.read(&mut buffer);
        }
        Manner::Closes => {}
        Manner::Resets => {
            let _ = socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO));
        }
    }
}
