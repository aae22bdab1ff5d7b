//! The salted digest by which one side proves to the other that it saw a name, without saying it.

use sha2::{Digest, Sha256};

/// The digest of `name` under `salt`: the first 64 bits of SHA-256, 16 hexadecimal digits. The
/// salt is prefixed by its length, so that no other pair of salt and name gives the same bytes.
pub fn salted(salt: &str, name: &str) -> String {
    let mut hash = Sha256::new();
    hash.update((salt.len() as u64).to_be_bytes());
    hash.update(salt.as_bytes());
    hash.update(name.as_bytes());
    let mut start = [0; 8];
    start.copy_from_slice(&hash.finalize()[..8]);
    format!("{:016x}", u64::from_be_bytes(start))
}

#[cfg(test)]
mod tests {
    use super::salted;

    #[test]
    fn it_depends_on_salt_and_name_and_on_where_one_ends() {
        assert_eq!(salted("a", "bc").len(), 16);
        assert_eq!(salted("a", "bc"), salted("a", "bc"));
        assert_ne!(salted("a", "bc"), salted("ab", "c"));
        assert_ne!(salted("a", "bc"), salted("b", "bc"));
    }
}
