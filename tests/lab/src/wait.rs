//! Waiting for a condition, with a deadline, interruptible by ctrl-C.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow, bail};

/// Between two looks at a condition.
const POLL: Duration = Duration::from_millis(10);

static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// Makes every wait end with an error, so that the lab unwinds and cleans up.
pub fn interrupt() {
    INTERRUPTED.store(true, Ordering::SeqCst);
}

/// Whether [`interrupt`] was called.
pub fn is_interrupted() -> bool {
    INTERRUPTED.load(Ordering::SeqCst)
}

/// Polls until `condition` gives a value; `None` when `patience` ran out.
pub fn polled<T>(
    patience: Duration,
    mut condition: impl FnMut() -> Result<Option<T>>,
) -> Result<Option<T>> {
    let deadline = Instant::now() + patience;
    loop {
        if is_interrupted() {
            bail!("interrupted");
        }
        if let Some(value) = condition()? {
            return Ok(Some(value));
        }
        if Instant::now() >= deadline {
            return Ok(None);
        }
        std::thread::sleep(POLL);
    }
}

/// Polls until `condition` gives a value; an error that says `what` did not come in time.
pub fn until<T>(
    what: &str,
    patience: Duration,
    condition: impl FnMut() -> Result<Option<T>>,
) -> Result<T> {
    polled(patience, condition)?.ok_or_else(|| anyhow!("{what}: not within {patience:?}"))
}

/// Lets time pass, interruptibly: for what is defined by its duration, never to wait for something.
pub fn pass(duration: Duration) -> Result<()> {
    polled::<()>(duration, || Ok(None)).map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_names_what_did_not_come() {
        let error = until::<()>("a lease for pn0", Duration::ZERO, || Ok(None)).unwrap_err();
        assert_eq!(error.to_string(), "a lease for pn0: not within 0ns");
        assert_eq!(until("x", Duration::ZERO, || Ok(Some(3))).unwrap(), 3);
    }
}
