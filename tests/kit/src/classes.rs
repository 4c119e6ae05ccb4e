//! Counts of what a generator made. A class that was declared and never hit fails the run.

use std::collections::BTreeMap;

/// How often each declared class was generated.
#[derive(Clone, Debug, Default)]
pub struct Classes(BTreeMap<String, u64>);

impl Classes {
    /// None hit yet.
    pub fn of<S: AsRef<str>>(declared: impl IntoIterator<Item = S>) -> Self {
        Self(declared.into_iter().map(|c| (c.as_ref().to_owned(), 0)).collect())
    }

    /// Counts one.
    ///
    /// # Panics
    /// When the class was not declared: nobody would notice that it is never hit.
    pub fn hit(&mut self, class: &str) {
        *self.0.get_mut(class).unwrap_or_else(|| panic!("the class `{class}` is not declared")) += 1;
    }

    /// Adds another run's counts.
    pub fn add(&mut self, other: &Classes) {
        other.0.iter().for_each(|(c, n)| *self.0.entry(c.clone()).or_insert(0) += n);
    }

    /// How many classes are declared, and the rarest with its count.
    pub fn summary(&self) -> String {
        let rarest = self.0.iter().min_by_key(|(_, n)| **n).map(|(c, n)| format!("{c} ({n} times)"));
        format!("{} classes, the rarest: {}", self.0.len(), rarest.unwrap_or_default())
    }

    /// # Panics
    /// When a class was never generated.
    pub fn assert_all_hit(&self) {
        let missed: Vec<_> = self.0.iter().filter(|(_, n)| **n == 0).map(|(c, _)| c).collect();
        assert!(missed.is_empty(), "the generator never made: {missed:?}; counts: {:?}", self.0);
    }
}
