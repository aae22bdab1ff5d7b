//! One text of a JSON object, without a copy and without memory: every check asks for one.
//!
//! `serde_json` skips a field that nobody asked for with a stack on the heap. Here what is skipped
//! is visited instead, as deep as `serde_json` lets anything be (128).

use core::fmt;
use std::borrow::Cow;

use serde::de::{Deserialize, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

/// The text under `key` of the object that `json` is. `None` where it is none, or not there, or
/// there twice. Borrowed, unless it is written with escapes.
pub(super) fn text<'a>(json: &'a [u8], key: &str) -> Option<Cow<'a, str>> {
    let mut reader = serde_json::Deserializer::from_slice(json);
    let found = reader.deserialize_map(One(key)).ok()?;
    reader.end().ok()?;
    found
}

/// A text where it lies.
struct Lying<'a>(Cow<'a, str>);

impl<'de> Deserialize<'de> for Lying<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl<'de> Visitor<'de> for Text {
            type Value = Lying<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text")
            }
            fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(Lying(Cow::Borrowed(text)))
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Lying(Cow::Owned(text.to_owned())))
            }
        }
        deserializer.deserialize_str(Text)
    }
}

/// The key that is asked for.
struct One<'k>(&'k str);

impl<'de> Visitor<'de> for One<'_> {
    type Value = Option<Cow<'de, str>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut found = None;
        let mut seen = false;
        while let Some(Lying(key)) = map.next_key()? {
            if key != self.0 {
                map.next_value::<Skipped>()?;
            } else if seen {
                return Err(A::Error::custom("twice"));
            } else {
                seen = true;
                found = map.next_value::<Option<Lying<'de>>>()?.map(|text| text.0);
            }
        }
        Ok(found)
    }
}

/// Anything at all.
struct Skipped;

impl<'de> Deserialize<'de> for Skipped {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Self)
    }
}

impl<'de> Visitor<'de> for Skipped {
    type Value = Self;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("anything")
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_str<E: Error>(self, _: &str) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_unit<E: Error>(self) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self, A::Error> {
        while list.next_element::<Self>()?.is_some() {}
        Ok(self)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self, A::Error> {
        // Keys are texts, which are skipped without memory.
        while map.next_key::<IgnoredAny>()?.is_some() {
            map.next_value::<Self>()?;
        }
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    /// The same question, asked of the whole document.
    fn by_value(json: &[u8]) -> Option<String> {
        let value: Value = serde_json::from_slice(json).ok()?;
        value.as_object()?.get("k")?.as_str().map(ToOwned::to_owned)
    }

    #[test]
    fn one_text_is_found_among_anything() {
        for (json, found) in [
            (r#"{"k":"a"}"#, Some("a")),
            (
                r#"{"x":[{"k":"no"},[1,-2,3.5e9,null,true]],"k":"a\u0062"}"#,
                Some("ab"),
            ),
            (r#"{"x":{"k":"no"}}"#, None),
            (r#"{"k":null}"#, None),
            (r#"{"k":1}"#, None),
            (r#"{"k":"a","k":"b"}"#, None),
            (r#"{"k":"a"} x"#, None),
            (r#"["k"]"#, None),
            ("", None),
        ] {
            assert_eq!(text(json.as_bytes(), "k").as_deref(), found, "{json}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_an_answer_or_not(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            // Bytes are no document, or the same one for both.
            let found = text(&bytes, "k").map(Cow::into_owned);
            prop_assert!(found.is_none() || found == by_value(&bytes));
        }
    }
}
