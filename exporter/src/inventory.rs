//! The inventory file as it changes: looked at each second and at each SIGHUP.
//!
//! One task. A file that cannot be used keeps the inventory before it, is told of once per
//! state of the file, and shows in a metric. Cancel-safe: between two looks there is no state.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use pnwatch_core::inventory::Inventory;
use pnwatch_core::name::Cluster;
use pnwatch_edge::clock::SharedClock;
use pnwatch_edge::config::{ConfigError, read_inventory};
use tokio::sync::Notify;

use crate::owner::Handle;
use crate::tally::Tally;

/// How often the file is looked at.
const LOOK: Duration = Duration::from_secs(1);

/// What of a file changes when it is rewritten or replaced.
type Stamp = Option<(u64, u64, i64, i64, i64, i64)>;

fn stamp(path: &Path) -> Stamp {
    let meta = std::fs::metadata(path).ok()?;
    Some((
        meta.ino(),
        meta.len(),
        meta.mtime(),
        meta.mtime_nsec(),
        meta.ctime(),
        meta.ctime_nsec(),
    ))
}

/// The file and what was seen of it.
pub struct Watched {
    path: PathBuf,
    cluster: Cluster,
    seen: Stamp,
}

impl Watched {
    /// Reads the file for the first time.
    pub fn read(path: &Path, cluster: &Cluster) -> Result<(Self, Inventory), ConfigError> {
        // Before the read: what is written meanwhile is seen at the next look.
        let seen = stamp(path);
        let inventory = read_inventory(path, cluster.clone())?;
        let watched = Self {
            path: path.to_owned(),
            cluster: cluster.clone(),
            seen,
        };
        Ok((watched, inventory))
    }

    /// The private network that the file is about.
    pub fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// The inventory, if the file changed since the last look, or `anyway`.
    fn look(&mut self, anyway: bool) -> Option<Result<Inventory, ConfigError>> {
        let now = stamp(&self.path);
        if now == self.seen && !anyway {
            return None;
        }
        self.seen = now;
        Some(read_inventory(&self.path, self.cluster.clone()))
    }

    /// Follows the file for ever; `reload` asks for a look at once.
    pub async fn follow(
        mut self,
        engine: Handle,
        tally: Arc<Tally>,
        clock: SharedClock,
        reload: Arc<Notify>,
    ) {
        loop {
            let asked = tokio::select! {
                () = reload.notified() => true,
                () = tokio::time::sleep(LOOK) => false,
            };
            let look = move || {
                let found = self.look(asked);
                (self, found)
            };
            let Ok((watched, found)) = tokio::task::spawn_blocking(look).await else {
                tracing::error!("looking at the inventory file failed; restart the exporter");
                return;
            };
            self = watched;
            match found {
                None => {}
                Some(Err(error)) => {
                    tally.inventory_failed();
                    tracing::error!("the inventory stays as it was: {error}");
                }
                Some(Ok(inventory)) => {
                    let (nodes, vantages, targets) = (
                        inventory.nodes.len(),
                        inventory.vantages.len(),
                        inventory.targets.len(),
                    );
                    if let Err(error) = engine.set_inventory(inventory).await {
                        // Seen again at the next look.
                        self.seen = None;
                        tracing::warn!("the new inventory waits: {error}");
                        continue;
                    }
                    tally.inventory_loaded(clock.now().wall);
                    tracing::info!(nodes, vantages, targets, "inventory read");
                }
            }
        }
    }
}
