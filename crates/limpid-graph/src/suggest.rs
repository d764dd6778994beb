//! Near misses, for error messages.

/// The most suggestions that a message makes.
const MOST: usize = 3;

/// The longest text that is compared, in characters: the comparison takes time
/// quadratic in it.
const MAX_CHARS: usize = 256;

/// Up to three of `names` that are nearest to `wanted` by Levenshtein's
/// distance, nearest first, without regard to case; none that differs in more
/// than half of its characters. Texts are compared up to their 256th character.
///
/// ```
/// use limpid_graph::nearest_names;
/// let names = ["conv_stem", "conv_head", "classifier"];
/// assert_eq!(nearest_names("conv_hed", names), ["conv_head", "conv_stem"]);
/// assert!(nearest_names("layer4", names).is_empty());
/// ```
#[must_use]
pub fn nearest_names<'a>(wanted: &str, names: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    let characters = |text: &str| -> Vec<char> {
        let lower = text.chars().take(MAX_CHARS).flat_map(char::to_lowercase);
        lower.take(MAX_CHARS).collect()
    };
    let wanted = characters(wanted);
    let mut near: Vec<(usize, &str)> = names
        .into_iter()
        .filter_map(|name| {
            let name_characters = characters(name);
            let most = wanted.len().max(name_characters.len()) / 2;
            // The distance is no less than the difference in length.
            if wanted.len().abs_diff(name_characters.len()) > most {
                return None;
            }
            let d = distance(&wanted, &name_characters);
            (d <= most).then_some((d, name))
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
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
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
    fn the_distance_is_levenshteins() {
        let d = |a: &str, b: &str| {
            let [a, b] = [a, b].map(|t| t.chars().collect::<Vec<_>>());
            distance(&a, &b)
        };
        assert_eq!(d("kitten", "sitting"), 3);
        assert_eq!(d("flaw", "lawn"), 2);
        assert_eq!(d("", "abc"), 3);
        assert_eq!(d("abc", ""), 3);
        assert_eq!(d("same", "same"), 0);
    }

    #[test]
    fn nearest_first() {
        let names = ["conv_stem.weight", "conv_head.weight", "classifier.bias"];
        let near = nearest_names("conv_sten.weight", names);
        assert_eq!(near, ["conv_stem.weight", "conv_head.weight"]);
        assert!(nearest_names("zzzz", names).is_empty());
        assert_eq!(nearest_names("FC", ["fc", "fc"]), ["fc"]);
    }

    #[test]
    fn long_texts_are_cut() {
        let long = "a".repeat(1 << 20);
        assert_eq!(nearest_names(&long, [&long[..300], "b"]), [&long[..300]]);
    }
}
