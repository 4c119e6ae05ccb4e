//! "Did you mean": the nearest name for one that does not exist.

/// The candidate nearest to `name` by Damerau-Levenshtein distance (case ignored), when it is near
/// enough to be a typing error: at most a third of the name's length, and at least one.
pub fn nearest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let wanted: Vec<char> = name.to_lowercase().chars().collect();
    let limit = (wanted.len() / 3).max(1);
    candidates
        .into_iter()
        .filter_map(|c| {
            let chars: Vec<char> = c.to_lowercase().chars().collect();
            (chars.len().abs_diff(wanted.len()) <= limit).then(|| (distance(&wanted, &chars), c))
        })
        .filter(|(d, _)| *d <= limit)
        .min_by_key(|(d, c)| (*d, c.len()))
        .map(|(_, c)| c)
}

/// Optimal string alignment distance: insert, delete, replace, swap of neighbours cost one each.
fn distance(a: &[char], b: &[char]) -> usize {
    let mut rows = [vec![0; b.len() + 1], (0..=b.len()).collect::<Vec<_>>(), vec![0; b.len() + 1]];
    for i in 1..=a.len() {
        rows[2][0] = i;
        for j in 1..=b.len() {
            let cost = usize::from(a[i - 1] != b[j - 1]);
            let mut d = (rows[1][j] + 1).min(rows[2][j - 1] + 1).min(rows[1][j - 1] + cost);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                d = d.min(rows[0][j - 2] + 1);
            }
            rows[2][j] = d;
        }
        rows.rotate_left(1);
    }
    rows[1][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_swapped_and_missing_letters_but_not_strangers() {
        let columns = ["amount", "currency", "id"];
        assert_eq!(nearest("amout", columns), Some("amount"));
        assert_eq!(nearest("AMUONT", columns), Some("amount"));
        assert_eq!(nearest("price", columns), None);
        assert_eq!(nearest("", columns), None);
    }
}
