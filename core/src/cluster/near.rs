//! Objects that a user named: when there is none of that name, the names that are like it are told.

use super::api::Object;
use super::{Cluster, names};
use crate::{Deadline, ErrorCode, Result};

/// So many names are told where none is like it.
const TOLD: usize = 8;

impl Cluster {
    /// An object that a user named. Cancel-safe.
    ///
    /// # Errors
    /// As [`get`](Self::get); [`NoSuchTarget`](ErrorCode::NoSuchTarget) with the names that may have been meant.
    pub(crate) async fn named<K: Object>(&self, name: &str, deadline: Deadline) -> Result<K> {
        let error = match self.get::<K>(name, deadline).await {
            Err(error) if error.code() == ErrorCode::NoSuchTarget => error,
            found => return found,
        };
        // Who may not list them is told no more than that.
        let Ok(there) = self.list::<K>("", deadline).await else { return Err(error) };
        let ours = |one: &K| {
            let labels = one.meta().labels.as_ref();
            labels.and_then(|all| all.get(names::MANAGED_BY)).is_some_and(|by| by == names::KUBETETHER)
        };
        let there = there.iter().filter(|one| !ours(one)).filter_map(|one| one.meta().name.as_deref());
        let hint = hint(name, &K::plural(&()), self.namespace(), there.collect());
        Err(error.try_this(hint))
    }
}

fn hint(name: &str, plural: &str, namespace: &str, mut there: Vec<&str>) -> String {
    there.sort_unstable();
    let mut near: Vec<(usize, &str)> = there
        .iter()
        .map(|other| (distance(name, other), *other))
        .filter(|(far, other)| *far <= 1 + name.len() / 4 || other.split('-').any(|part| part == name))
        .collect();
    near.sort_unstable();
    let near: Vec<&str> = near.into_iter().map(|(_, other)| other).take(3).collect();
    if !near.is_empty() {
        return format!("did you mean {}?", near.join(" or "));
    }
    if there.is_empty() {
        return format!("there are no {plural} in namespace {namespace}: is it the right one?");
    }
    let more = there.len().saturating_sub(TOLD);
    there.truncate(TOLD);
    let more = if more == 0 { String::new() } else { format!(" and {more} more") };
    format!("there are {plural} {}{more} in namespace {namespace}", there.join(", "))
}

/// How many letters have to be put in, left out, changed, or swapped with the next one.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut before = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, y) in b.iter().enumerate() {
            let mut least = (row[j] + 1).min(last[j + 1] + 1).min(last[j] + usize::from(x != y));
            if i > 0 && j > 0 && *x == b[j - 1] && a[i - 1] == *y {
                let swapped: &Vec<usize> = &before;
                least = least.min(swapped[j - 1] + 1);
            }
            row.push(least);
        }
        before = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_may_have_been_meant() {
        let there = || vec!["payments", "orders", "orders-db", "web"];
        let hint = |name| hint(name, "services", "shop", there());
        for typo in ["ordes", "orderss", "oders", "odrers", "orderz"] {
            assert_eq!(hint(typo), "did you mean orders?", "{typo}");
        }
        assert_eq!(hint("db"), "did you mean orders-db?");
        assert_eq!(hint("wbe"), "did you mean web?");
        assert_eq!(hint("stock"), "there are services orders, orders-db, payments, web in namespace shop");
    }

    #[test]
    fn many_names_and_none() {
        let names: Vec<String> = (0..20).map(|number| format!("service-{number:02}")).collect();
        let many = hint("x", "services", "shop", names.iter().map(String::as_str).collect());
        assert!(many.ends_with("service-07 and 12 more in namespace shop"), "{many}");
        assert!(hint("x", "services", "shop", Vec::new()).contains("is it the right one?"));
    }

    #[test]
    fn distances() {
        for (a, b, far) in
            [("", "", 0), ("", "ab", 2), ("abc", "abc", 0), ("abc", "acb", 1), ("abcd", "xbdc", 2)]
        {
            assert_eq!((distance(a, b), distance(b, a)), (far, far), "{a} {b}");
        }
    }
}
