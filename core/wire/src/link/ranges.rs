use std::collections::BTreeMap;

/// A set of numbers, kept as ranges: as small as its gaps are few.
#[derive(Debug, Default)]
pub(super) struct Ranges(BTreeMap<u64, u64>);

impl Ranges {
    pub(super) fn contains(&self, number: u64) -> bool {
        self.0.range(..=number).next_back().is_some_and(|(_, end)| number < *end)
    }

    pub(super) fn insert(&mut self, number: u64) {
        if self.contains(number) {
            return;
        }
        let end = self.0.remove(&(number + 1)).unwrap_or(number + 1);
        match self.0.range_mut(..number).next_back() {
            Some((_, before)) if *before == number => *before = end,
            _ => {
                self.0.insert(number, end);
            }
        }
    }

    /// How many ranges there are.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_become_one_range() {
        let mut ranges = Ranges::default();
        for number in [5, 1, 3, 4, 4, 2, 9] {
            ranges.insert(number);
        }
        assert_eq!(ranges.len(), 2);
        let inside: Vec<_> = (0..12).filter(|number| ranges.contains(*number)).collect();
        assert_eq!(inside, [1, 2, 3, 4, 5, 9]);
    }
}
