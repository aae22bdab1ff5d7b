//! "Did you mean": the known word nearest to a wrong one.

/// The nearest of `known` within a third of the word's length, and at least within two edits.
pub(super) fn nearest<'a>(word: &str, known: &[&'a str]) -> Option<&'a str> {
    if word.len() > 64 {
        return None;
    }
    let word = word.to_lowercase().replace('-', "_");
    let limit = (word.chars().count() / 3).max(2);
    known
        .iter()
        .map(|candidate| (distance(&word, candidate), *candidate))
        .filter(|(edits, candidate)| *edits <= limit && *edits < candidate.chars().count())
        .min()
        .map(|(_, candidate)| candidate)
}

/// Edits between two words: insert, delete, replace, or swap neighbours (optimal string
/// alignment), so that `porbe` is one edit from `probe`.
fn distance(a: &str, b: &str) -> usize {
    let a: Vec<char> = a.chars().collect();
    let b: Vec<char> = b.chars().collect();
    let mut rows = vec![vec![0usize; b.len() + 1]; a.len() + 1];
    for (i, row) in rows.iter_mut().enumerate() {
        row[0] = i;
    }
    for (j, cell) in rows[0].iter_mut().enumerate() {
        *cell = j;
    }
    for i in 1..=a.len() {
        for j in 1..=b.len() {
            let replace = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut best = replace.min(rows[i - 1][j] + 1).min(rows[i][j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(rows[i - 2][j - 2] + 1);
            }
            rows[i][j] = best;
        }
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_word_is_suggested_and_a_far_one_is_not() {
        let known = ["probe", "serve", "cluster", "log", "token_file"];
        for (word, expected) in [
            ("porbe", Some("probe")),
            ("Cluster", Some("cluster")),
            ("tokenfile", Some("token_file")),
            ("token-file", Some("token_file")),
            ("lgo", Some("log")),
            ("banana", None),
            ("", None),
        ] {
            assert_eq!(nearest(word, &known), expected, "{word:?}");
        }
        assert_eq!(nearest(&"x".repeat(1 << 20), &known), None);
    }
}
