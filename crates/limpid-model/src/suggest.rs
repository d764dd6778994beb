//! Near misses, for error messages.

/// The most suggestions that a message makes.
const MOST: usize = 3;

/// The longest text that is compared, in characters: the comparison takes time
/// quadratic in it.
const MAX_CHARS: usize = 256;

/// Up to three of `names` that are nearest to `wanted`, nearest first; none
/// that differs in more than half of its characters.
pub(crate) fn nearest_names<'a>(wanted: &str, names: impl Iterator<Item = &'a str>) -> Vec<String> {
    let wanted: Vec<char> = wanted.to_lowercase().chars().take(MAX_CHARS).collect();
    let mut near: Vec<(usize, &str)> = names
        .filter_map(|name| {
            let lower: Vec<char> = name.to_lowercase().chars().take(MAX_CHARS).collect();
            let d = distance(&wanted, &lower);
            (2 * d <= wanted.len().max(lower.len())).then_some((d, name))
        })
        .collect();
    near.sort_unstable();
    near.dedup();
    near.truncate(MOST);
    near.into_iter().map(|(_, name)| name.to_owned()).collect()
}

/// Levenshtein's distance.
fn distance(a: &[char], b: &[char]) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, ca) in a.iter().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, cb) in b.iter().enumerate() {
            let change = diagonal + usize::from(ca != cb);
            diagonal = row[j + 1];
            row[j + 1] = change.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nearest_first() {
        let names = ["conv_stem.weight", "conv_head.weight", "classifier.bias"];
        let near = nearest_names("conv_sten.weight", names.into_iter());
        assert_eq!(near, ["conv_stem.weight", "conv_head.weight"]);
        assert!(nearest_names("zzzz", names.into_iter()).is_empty());
    }
}
