//! The recorded outputs: files of blocks, each with a name, what must come of it, and the text.

use std::fs;
use std::path::PathBuf;

/// One recorded output.
#[allow(dead_code, reason = "each test reads its part")]
pub(crate) struct Block {
    pub(crate) name: String,
    pub(crate) expected: String,
    pub(crate) said: String,
}

/// The blocks of `file`. Found from the crate whose test this is: the prober's or the root's.
pub(crate) fn blocks(file: &str) -> Vec<Block> {
    let here = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let places = ["tests/mac", "prober/tests/mac"].map(|place| here.join(place).join(file));
    let path = places.iter().find(|path| path.exists()).unwrap();
    let text = fs::read_to_string(path).unwrap();
    let blocks: Vec<Block> = text
        .split("#### ")
        .skip(1)
        .map(|block| {
            let (name, rest) = block.split_once('\n').unwrap();
            let (expected, said) = rest.split_once('\n').unwrap_or((rest, ""));
            Block {
                name: name.to_owned(),
                expected: expected.strip_prefix("#> ").unwrap().to_owned(),
                said: said.to_owned(),
            }
        })
        .collect();
    assert!(blocks.len() >= 5, "{file} has {} blocks", blocks.len());
    blocks
}

/// The part of a block that stands after `--- name`.
pub(crate) fn part<'a>(said: &'a str, name: &str) -> Option<&'a str> {
    let head = format!("--- {name}\n");
    let (_, rest) = said.split_once(&head)?;
    Some(rest.split("--- ").next().unwrap_or(rest))
}
