//! The PN leg of a Mac: read afresh whenever the routing socket (route(4)) says that anything
//! changed, and at least every [`REFRESH`]; its packet filter every [`FILTER_EVERY`].
//!
//! One task, cancel-safe: dropping it closes the socket and ends a command under way.

use core::net::Ipv4Addr;
use core::time::Duration;
use std::io::{self, Read as _};
use std::os::fd::AsFd as _;

use pnwatch_core::filter::{FilterFacts, FilterKind};
use pnwatch_core::link::Cidr;
use pnwatch_core::time::Tick;
use pnwatch_edge::clock::SharedClock;
use socket2::{Domain, Socket, Type};
use tokio::io::AsyncReadExt as _;
use tokio::sync::watch;

use super::command::{self, Said};
use crate::engine::poller::Readiness;
use crate::link::Leg;
use crate::mac::apart::{self, Answer, ApartError, Question};
use crate::mac::facts::Anchors;
use crate::unprivileged::own_program;

/// The facts are read at least this often: the routing socket does not tell of leases.
const REFRESH: Duration = Duration::from_secs(10);
/// Least time between two readings.
const SPACING: Duration = Duration::from_millis(50);
/// Longest lease file.
const MOST_LEASE: u64 = 64 << 10;
/// What could not be read is tried again after this time.
const UNREAD: Duration = Duration::from_secs(1);
/// The packet filter is asked this often: six commands each time.
const FILTER_EVERY: Duration = Duration::from_secs(15);

/// Follows the device `name` for ever. `target` is the PN address whose route is looked up.
pub async fn follow(
    name: String,
    pn: Cidr,
    mut target: watch::Receiver<Option<Ipv4Addr>>,
    clock: SharedClock,
    leg: watch::Sender<Option<Leg>>,
) {
    let (filter_tell, filter) = watch::channel(None);
    let filtering = follow_filter(&name, pn, &clock, filter_tell);
    let following = async {
        loop {
            if let Err(error) = session(&name, pn, &mut target, &clock, (&leg, &filter)).await {
                tracing::warn!(device = %name, %error, "the routing socket ended; opening it again");
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    };
    tokio::join!(filtering, following);
}

type Filter = Option<(FilterFacts, Tick)>;

async fn session(
    name: &str,
    pn: Cidr,
    target: &mut watch::Receiver<Option<Ipv4Addr>>,
    clock: &SharedClock,
    (leg, filter): (&watch::Sender<Option<Leg>>, &watch::Receiver<Filter>),
) -> io::Result<()> {
    let changes = Changes::open()?;
    loop {
        let to = *target.borrow_and_update();
        let Some(mut read) = read(name, pn, to, clock).await else {
            // What is not known must not go on looking as it was.
            leg.send_replace(None);
            tokio::time::sleep(UNREAD).await;
            continue;
        };
        read.facts.filter = filter.borrow().as_ref().map(|(facts, at)| FilterFacts {
            age_s: read.read_at.since(*at).as_secs(),
            ..facts.clone()
        });
        leg.send_if_modified(|held| {
            match held {
                Some(held) => {
                    held.update(read);
                }
                none => *none = Some(read),
            }
            true
        });
        tokio::time::sleep(SPACING).await;
        tokio::select! {
            changed = changes.next() => changed?,
            changed = target.changed() => {
                if changed.is_err() {
                    // Nobody asks any more: the agent is going.
                    return core::future::pending().await;
                }
            }
            () = tokio::time::sleep(REFRESH) => {}
        }
    }
}

/// `None` = it could not be read.
async fn read(name: &str, pn: Cidr, to: Option<Ipv4Addr>, clock: &SharedClock) -> Option<Leg> {
    let looked_up = to.map(|to| to.to_string());
    let route = async {
        let said = command::run("/sbin/route", &["-n", "get", looked_up.as_deref()?]).await?;
        Some((to?, said.out))
    };
    let lease = format!("/var/db/dhcpclient/leases/{name}.plist");
    let (device, summary) = ([name], ["getsummary", name]);
    let (ifconfig, route, summary, lease_file) = tokio::join!(
        command::run("/sbin/ifconfig", &device),
        route,
        command::run("/usr/sbin/ipconfig", &summary),
        lease_file(&lease),
    );
    let out = |said: Option<Said>| said.unwrap_or_default().out;
    let (ifconfig, summary) = (out(ifconfig), out(summary));
    let lease_file = String::from_utf8_lossy(&lease_file.unwrap_or_default()).into_owned();
    let now = clock.now();
    let said = apart::Said::Leg {
        ifconfig,
        route,
        summary,
        lease_file,
        wall: now.wall.as_unix_nanos(),
    };
    match ask(name, pn, said).await? {
        Answer::Leg { facts, arp } => Some(apart::leg(facts, arp, index(name), pn, now)),
        Answer::Filter(_) => None,
    }
}

/// The DHCP client's lease file; a longer one is none.
async fn lease_file(path: &str) -> Option<Vec<u8>> {
    let file = tokio::fs::File::open(path).await.ok()?;
    let mut bytes = Vec::new();
    file.take(MOST_LEASE + 1)
        .read_to_end(&mut bytes)
        .await
        .ok()?;
    (bytes.len() as u64 <= MOST_LEASE).then_some(bytes)
}

/// Has outputs read by a process without rights. Where nobody may not reach this program (a
/// person tries it in a folder of theirs), with the rights that it has.
async fn ask(name: &str, pn: Cidr, said: apart::Said) -> Option<Answer> {
    let question = Question {
        device: name.to_owned(),
        pn,
        said,
    };
    match apart::ask(&own_program(), &question).await {
        Ok(answer) => Some(answer),
        Err(ApartError::System(error)) if error.kind() == io::ErrorKind::PermissionDenied => {
            tracing::debug!(
                "nobody may not start this program where it lies: outputs are read here"
            );
            Some(apart::answer(&question))
        }
        Err(error) => {
            tracing::warn!(%error, "macOS was not understood; the next reading may be");
            None
        }
    }
}

async fn pfctl(arguments: &[&str]) -> Option<Said> {
    command::run("/sbin/pfctl", arguments).await
}

fn index(name: &str) -> Option<u32> {
    let all = pnet::datalink::interfaces();
    let found = all.into_iter().find(|interface| interface.name == name);
    found.map(|interface| interface.index)
}

async fn follow_filter(name: &str, pn: Cidr, clock: &SharedClock, tell: watch::Sender<Filter>) {
    loop {
        let facts = read_filter(name, pn).await;
        tell.send_replace(Some((facts, clock.now().tick)));
        tokio::time::sleep(FILTER_EVERY).await;
    }
}

/// Asks pf, read-only. `pfctl` needs root; without it nothing is known.
async fn read_filter(name: &str, pn: Cidr) -> FilterFacts {
    let anchors = Anchors::default();
    let info = pfctl(&["-s", "info"]).await;
    let memory = pfctl(&["-s", "memory"]).await;
    let main = pfctl(&["-s", "rules"]).await;
    let rules = pfctl(&["-a", anchors.rules, "-s", "rules"]).await;
    let table = ["-a", anchors.rules, "-t", anchors.sources, "-T", "show"];
    let sources = pfctl(&table).await;
    let nat = pfctl(&["-a", anchors.nat, "-s", "nat"]).await;
    let all = [&info, &memory, &main, &rules, &sources, &nat];
    let errors = all.into_iter().flatten().map(|said| said.err.as_str());
    let errors = errors.collect::<Vec<_>>().join("\n");
    let out = |said: Option<Said>| said.map(|said| said.out);
    let said = apart::Said::Filter {
        info: out(info),
        memory: out(memory),
        main: out(main),
        rules: out(rules),
        sources: out(sources),
        nat: out(nat),
        errors,
    };
    match ask(name, pn, said).await {
        Some(Answer::Filter(facts)) => facts,
        _ => FilterFacts {
            kind: FilterKind::Pf,
            ..FilterFacts::default()
        },
    }
}

/// Says that something changed: a message of the routing socket, whatever it says.
struct Changes {
    readiness: Readiness,
    socket: Socket,
}

impl Changes {
    fn open() -> io::Result<Self> {
        let socket = Socket::new(Domain::from(libc::AF_ROUTE), Type::RAW, None)?;
        socket.set_nonblocking(true)?;
        let readiness = Readiness::of(socket.as_fd())?;
        Ok(Self { readiness, socket })
    }

    /// Returns after the next change, with everything that is queued taken. Cancel-safe.
    async fn next(&self) -> io::Result<()> {
        loop {
            self.readiness.news().await?;
            if self.take()? {
                return Ok(());
            }
        }
    }

    /// Whether there was anything.
    fn take(&self) -> io::Result<bool> {
        let mut buffer = [0u8; 2048];
        let mut any = false;
        loop {
            match (&self.socket).read(&mut buffer) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(_) => any = true,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(any),
                // A full queue lost messages, which is a change as well.
                Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => any = true,
                Err(error) => return Err(error),
            }
        }
    }
}

/// The names of this machine's interfaces, for the line that says that one is missing.
pub fn interface_names() -> Vec<String> {
    let mut names: Vec<String> = pnet::datalink::interfaces()
        .into_iter()
        .map(|interface| interface.name)
        .collect();
    names.sort();
    names.dedup();
    names
}
