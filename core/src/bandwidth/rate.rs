//! Rates as Kubernetes writes them.

use core::fmt;

use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A rate in bits per second, written as a quantity of Kubernetes' API: `750M`, `1.5G`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct BitRate(u64);

/// Longest quantity that is read.
const MAX_LENGTH: usize = 32;
/// What Kubernetes takes for a bandwidth (`pkg/util/bandwidth`): 1 kbit/s to 1 Pbit/s.
const REASONABLE: core::ops::RangeInclusive<f64> = 1e3..=1e15;

/// Suffixes of `resource.Quantity`; a suffix of none is none.
const SUFFIXES: [(&str, f64); 15] = [
    ("Ki", 1024.0),
    ("Mi", 1_048_576.0),
    ("Gi", 1_073_741_824.0),
    ("Ti", 1_099_511_627_776.0),
    ("Pi", 1_125_899_906_842_624.0),
    ("Ei", 1_152_921_504_606_846_976.0),
    ("n", 1e-9),
    ("u", 1e-6),
    ("m", 1e-3),
    ("k", 1e3),
    ("M", 1e6),
    ("G", 1e9),
    ("T", 1e12),
    ("P", 1e15),
    ("E", 1e18),
];

impl BitRate {
    /// Of `bits` per second, if that is 1 kbit/s to 1 Pbit/s.
    pub fn new(bits: u64) -> Option<Self> {
        REASONABLE.contains(&(bits as f64)).then_some(Self(bits))
    }

    /// Of `megabits` per second; at least one.
    pub const fn from_megabits(megabits: u16) -> Self {
        let megabits = if megabits == 0 { 1 } else { megabits };
        Self(megabits as u64 * 1_000_000)
    }

    /// In bits per second.
    pub fn bits(self) -> u64 {
        self.0
    }

    /// In bytes per second.
    pub fn bytes(self) -> u64 {
        self.0 / 8
    }

    /// Reads `750M`, `1.5G`, `1Gi`, `750e6`, `64000`: the grammar of `resource.Quantity`.
    /// `None` = it is none, or less than 1 kbit/s or more than 1 Pbit/s.
    pub fn parse(text: &str) -> Option<Self> {
        if text.len() > MAX_LENGTH {
            return None;
        }
        let end = text.find(|c: char| !c.is_ascii_digit() && c != '.' && c != '+');
        let (number, unit) = text.split_at(end.unwrap_or(text.len()));
        let number = number.strip_prefix('+').unwrap_or(number);
        if number.contains('+') {
            return None;
        }
        let factor = match (unit, unit.strip_prefix(['e', 'E'])) {
            ("", _) => 1.0,
            // `E` alone is a suffix, `E6` an exponent.
            (_, Some(exponent)) if !exponent.is_empty() && unit != "Ei" => {
                10f64.powi(exponent.parse::<i8>().ok()?.into())
            }
            _ => SUFFIXES.iter().find(|(suffix, _)| *suffix == unit)?.1,
        };
        let bits = (number.parse::<f64>().ok()? * factor).round();
        REASONABLE.contains(&bits).then_some(Self(bits as u64))
    }
}

/// The shortest whole number with a decimal suffix.
impl fmt::Display for BitRate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let suffixes = [("P", 1_000_000_000_000_000), ("T", 1_000_000_000_000)];
        let suffixes = suffixes.into_iter();
        let suffixes = suffixes.chain([("G", 1_000_000_000), ("M", 1_000_000), ("k", 1_000)]);
        for (suffix, factor) in suffixes {
            if self.0.is_multiple_of(factor) {
                return write!(f, "{}{suffix}", self.0 / factor);
            }
        }
        write!(f, "{}", self.0)
    }
}

impl Serialize for BitRate {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// A text, or a number of bits per second.
impl<'de> Deserialize<'de> for BitRate {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Rate;
        impl Visitor<'_> for Rate {
            type Value = BitRate;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a rate in bits per second like 750M")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<BitRate, E> {
                let wrong = || E::invalid_value(serde::de::Unexpected::Str(text), &self);
                BitRate::parse(text.trim()).ok_or_else(wrong)
            }

            fn visit_u64<E: Error>(self, bits: u64) -> Result<BitRate, E> {
                let wrong = || E::invalid_value(serde::de::Unexpected::Unsigned(bits), &self);
                BitRate::new(bits).ok_or_else(wrong)
            }
        }
        deserializer.deserialize_any(Rate)
    }
}

#[cfg(test)]
mod tests {
    use super::BitRate;
    use proptest::prelude::*;

    #[test]
    fn rates_are_read_as_kubernetes_writes_them() {
        for (text, bits) in [
            ("750M", Some(750_000_000)),
            ("+750M", Some(750_000_000)),
            ("1.5G", Some(1_500_000_000)),
            (".5G", Some(500_000_000)),
            ("1Gi", Some(1_073_741_824)),
            ("64000", Some(64_000)),
            ("750e6", Some(750_000_000)),
            ("7.5E8", Some(750_000_000)),
            ("750000000000m", Some(750_000_000)),
            ("1P", Some(1_000_000_000_000_000)),
            ("0.000001E", Some(1_000_000_000_000)),
            ("0.0001Ei", Some(115_292_150_460_685)),
            // Less than 1 kbit/s, more than 1 Pbit/s.
            ("5m", None),
            ("999", None),
            ("0", None),
            ("1001T", None),
            ("1E", None),
            ("1e99", None),
            ("1e999", None),
            ("", None),
            ("M", None),
            ("-5M", None),
            ("++5M", None),
            ("5+M", None),
            ("750 M", None),
            ("750m M", None),
            ("750MB", None),
            ("750 Mbit/s", None),
            ("1.2.3M", None),
            ("inf", None),
            ("NaN", None),
            ("1e", None),
            ("0x10M", None),
            ("٧٥٠M", None),
        ] {
            assert_eq!(BitRate::parse(text).map(BitRate::bits), bits, "{text:?}");
        }
    }

    #[test]
    fn a_file_may_write_it_as_text_or_as_a_number() {
        let read = |json: &str| serde_json::from_str::<BitRate>(json);
        assert_eq!(read("\"750M\"").unwrap().bytes(), 93_750_000);
        assert_eq!(read("750000000").unwrap().bytes(), 93_750_000);
        for wrong in ["\"much\"", "0", "-5", "1.5", "null", "[]"] {
            let told = read(wrong).unwrap_err().to_string();
            assert!(
                told.contains("a rate in bits per second like 750M"),
                "{told}"
            );
        }
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(bits in 1_000u64..1_000_000_000_000_000) {
            let rate = BitRate::new(bits).unwrap();
            prop_assert_eq!(BitRate::parse(&rate.to_string()), Some(rate));
        }

        #[test]
        fn any_text_is_read_without_a_panic(text in "\\PC{0,40}", like in "[+-]?[0-9.]{0,12}[a-zA-Z]{0,3}[0-9+-]{0,5}") {
            for text in [text, like] {
                if let Some(rate) = BitRate::parse(&text) {
                    prop_assert!((1_000..=1_000_000_000_000_000).contains(&rate.bits()));
                }
            }
        }
    }
}
