//! What is reached, but badly: loss, large packets.

use super::{Confidence, Fault, Flaw, Named, Scope, critical, warning};
use crate::diagnosis::rule::{self, Rule, rules, signs};
use crate::diagnosis::symptom::Witnesses;
use Confidence::{High, Low, Medium};

signs! {
    /// The signs of a machine, account or network that is reached badly.
    QualitySigns {
        /// What is wrong.
        flaw: Flaw,
        /// Whom all bad paths have in common, and no good one.
        scope: Scope,
        /// How many vantages have evidence.
        witnesses: Witnesses,
    }
}

/// The rows of what is reached badly.
pub static QUALITY: &[Rule<QualitySigns>] = rules! { QualitySigns;
    "large_packets_lost" { flaw: Flaw::LargeLost, witnesses: Witnesses::Many }
        => critical(Fault::LargePacketsLost, High),
        "small answers come, and reads of many segments stall, on all its paths and on no other";
    "large_packets_lost_one_witness" { flaw: Flaw::LargeLost }
        => critical(Fault::LargePacketsLost, Low),
        "small answers come, and reads of many segments stall, for the only witness";
    "lossy_network" { flaw: Flaw::Lossy, scope: Scope::Network }
        => warning(Fault::Lossy, Medium),
        "a quarter of the checks or more is lost between almost all machines";
    "lossy" { flaw: Flaw::Lossy, witnesses: Witnesses::Many }
        => warning(Fault::Lossy, Medium),
        "a quarter of the checks or more is lost on its paths, and not on others";
    "lossy_one_witness" { flaw: Flaw::Lossy }
        => warning(Fault::Lossy, Low),
        "a quarter of the checks or more is lost for the only witness";
};

/// Names what is reached badly.
pub fn quality(signs: QualitySigns) -> Option<Named> {
    rule::named(QUALITY, &signs)
}
