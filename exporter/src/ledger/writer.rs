//! The one thread that writes.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use pnwatch_edge::clock::SharedClock;

use super::pending::{Mailbox, Pending};
use super::store::{OpenError, Store};
use super::{Status, Volatile, open_or_begin, told};

/// Between two tries to write a file that could not be written.
const RETRY: Duration = Duration::from_secs(10);

pub(super) struct Writer {
    pub(super) path: PathBuf,
    pub(super) store: Option<Store>,
    pub(super) clock: SharedClock,
    pub(super) mailbox: Arc<Mailbox>,
}

impl Writer {
    pub(super) fn run(mut self) {
        while let Some(pending) = self.mailbox.take() {
            match self.write(&pending) {
                Ok(()) => {
                    self.succeeded();
                    self.mailbox.written();
                }
                Err(error) => {
                    self.failed(&error);
                    self.mailbox.put_back(pending);
                    if self.mailbox.closed() {
                        return;
                    }
                    self.mailbox.pause(RETRY);
                }
            }
        }
    }

    fn write(&mut self, pending: &Pending) -> Result<(), OpenError> {
        let store = match self.store.take() {
            Some(store) => store,
            None => self.open()?,
        };
        store.write(pending)?;
        self.store = Some(store);
        Ok(())
    }

    /// Opens again after a failure. What the file holds is older than what is in memory; only
    /// if the file is new, everything has to be written.
    fn open(&self) -> Result<Store, OpenError> {
        let existed = self.path.exists();
        let mut status = Status::default();
        let (store, _) = open_or_begin(&self.path, &self.clock, &mut status)?;
        self.mailbox.status(|shown| {
            shown.wants_everything |= !existed || status.kept_aside.is_some();
            shown.kept_aside = status.kept_aside.or(shown.kept_aside.take());
        });
        Ok(store)
    }

    fn succeeded(&self) {
        let now = self.clock.now().wall;
        let was = self.mailbox.status(|status| {
            status.written = status.written.saturating_add(1);
            status.last_written = Some(now);
            status.volatile.take()
        });
        if let Some(Volatile { since, .. }) = was {
            tracing::info!(%since, "the ledger is written again");
        }
    }

    fn failed(&self, error: &OpenError) {
        let now = self.clock.now().wall;
        self.mailbox.status(|status| {
            status.failed = status.failed.saturating_add(1);
            // Said once per failure that lasts, not at every try.
            if status.volatile.is_none() {
                status.volatile = Some(told(&self.path, error, now));
            }
        });
    }
}
