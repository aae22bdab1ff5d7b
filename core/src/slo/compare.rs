//! Checks before and after an instant, for the gate's `baseline=`.

use super::{Book, Counts, Policy, SeriesKey};
use crate::gate::{BEFORE, Compared, Sample};
use crate::time::{Now, Timestamp};

/// The account's checks of every series in `book` in the half hour before `baseline` and since.
///
/// Bad are those that no finding explains: what was found and named is judged as a finding, not
/// a second time by its trace in the counts. Whole ten-second slots, so that none counts twice.
pub fn compared(book: &Book, policy: &Policy, baseline: Timestamp, now: Now) -> Vec<Compared> {
    let second = |at: Timestamp| at.as_unix_nanos() / 1_000_000_000;
    let at = second(baseline);
    // A slot may be filled for another moment after its end.
    let end = second(now.wall).saturating_add(10);
    let sample = |counts: Counts| Sample {
        bad: counts.bad,
        total: counts.measured(),
    };
    let line = |key: &SeriesKey| {
        let SeriesKey::Account {
            account,
            kind,
            measure,
        } = key
        else {
            return None;
        };
        if !kind.is_client() {
            return None;
        }
        Some(Compared {
            account: account.clone(),
            kind: *kind,
            measure: *measure,
            allowed: policy.objective(*measure).budget(),
            before: sample(book.between(key, at.saturating_sub(BEFORE.as_secs()), at)),
            after: sample(book.between(key, at, end)),
        })
    };
    book.keys().filter_map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::name::{Account, VantageKind};
    use crate::slo::Event;
    use crate::time::Tick;

    const EPOCH: u64 = 1_780_000_000;

    fn at(second: u64) -> Now {
        Now {
            tick: Tick::from_millis((10_000 + second) * 1000),
            wall: Timestamp::from_unix_seconds(EPOCH + second),
        }
    }

    #[test]
    fn before_is_half_an_hour_and_after_is_the_rest() {
        let key = |kind| SeriesKey::reachability(Account::new("a").unwrap(), kind);
        let mut book = Book::new(at(0));
        for second in 0..3_000 {
            let event = if second % 100 == 0 && second >= 2_400 {
                Event::Bad
            } else {
                Event::Good
            };
            book.record(&key(VantageKind::Host), event, 1, at(second));
            book.record(&key(VantageKind::Node), Event::Bad, 1, at(second));
        }
        let compared = |second| {
            let baseline = Timestamp::from_unix_seconds(EPOCH + second);
            super::compared(&book, &Policy::default(), baseline, at(3_000))
        };
        let lines = compared(2_400);
        // Cluster nodes prove nothing.
        assert_eq!(lines.len(), 1);
        assert_eq!(
            lines[0].before,
            Sample {
                bad: 0,
                total: 1_800
            }
        );
        assert_eq!(lines[0].after, Sample { bad: 6, total: 600 });
        // In the middle of a slot, that slot is neither before nor after.
        let lines = compared(2_405);
        assert_eq!(lines[0].before.total, 1_790);
        assert_eq!(lines[0].after.total, 590);
        assert_eq!(compared(10)[0].before.total, 10);
        assert_eq!(compared(3_100)[0].after.total, 0);
    }
}
