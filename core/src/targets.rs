//! Account targets by key, by account and by node, so that no question walks all of them.

use core::ops::{Bound, Deref};
use std::collections::btree_map::Iter;
use std::collections::{BTreeMap, BTreeSet};

use crate::inventory::AccountTarget;
use crate::name::{Account, Node};
use crate::subject::Subject;

/// See the [module](self). Reads as the map by key.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Targets {
    by_key: BTreeMap<Subject, AccountTarget>,
    by_node: BTreeMap<Node, BTreeSet<Subject>>,
}

impl Deref for Targets {
    type Target = BTreeMap<Subject, AccountTarget>;

    fn deref(&self) -> &Self::Target {
        &self.by_key
    }
}

impl<'a> IntoIterator for &'a Targets {
    type Item = (&'a Subject, &'a AccountTarget);
    type IntoIter = Iter<'a, Subject, AccountTarget>;

    fn into_iter(self) -> Self::IntoIter {
        self.by_key.iter()
    }
}

impl Extend<(Subject, AccountTarget)> for Targets {
    fn extend<T: IntoIterator<Item = (Subject, AccountTarget)>>(&mut self, targets: T) {
        for (subject, target) in targets {
            self.insert(subject, target);
        }
    }
}

impl Targets {
    /// Puts a target in; the one that was there before.
    pub fn insert(&mut self, subject: Subject, target: AccountTarget) -> Option<AccountTarget> {
        let node = target.node.clone();
        let old = self.by_key.insert(subject.clone(), target);
        if let Some(old) = old.as_ref().filter(|old| old.node != node)
            && let Some(theirs) = self.by_node.get_mut(&old.node)
        {
            theirs.remove(&subject);
            if theirs.is_empty() {
                self.by_node.remove(&old.node);
            }
        }
        self.by_node.entry(node).or_default().insert(subject);
        old
    }

    /// Targets whose address belongs to `node`.
    pub fn of_node(&self, node: &Node) -> impl Iterator<Item = (&Subject, &AccountTarget)> {
        let theirs = self.by_node.get(node).into_iter().flatten();
        theirs.filter_map(|subject| self.by_key.get_key_value(subject))
    }

    /// Targets of `account`.
    pub fn of_account(
        &self,
        account: &Account,
    ) -> impl Iterator<Item = (&Subject, &AccountTarget)> {
        let first = Bound::Included(Subject::first_of(account));
        self.by_key
            .range((first, Bound::Unbounded))
            .take_while(move |(subject, _)| {
                matches!(subject, Subject::Account(theirs, ..) if theirs == account)
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::name::Instance;
    use crate::subject::TargetKind;

    fn target(account: &str, instance: &str, node: &str) -> AccountTarget {
        AccountTarget {
            account: Account::new(account).unwrap(),
            tenant: None,
            instance: Instance::new(instance).unwrap(),
            kind: TargetKind::Nodeport,
            node: Node::new(node).unwrap(),
            address: [127, 0, 0, 1].into(),
            port: 30_000,
            excuse: None,
            metrics: None,
            egress_cap: None,
        }
    }

    #[test]
    fn every_question_is_answered_as_by_walking_all() {
        let mut targets = Targets::default();
        for (account, instance, node) in [
            ("a", "-", "n1"),
            ("a", "z", "n2"),
            ("a-b", "a", "n1"),
            ("b", "a", "n2"),
            // Moved to another node: the first place is forgotten.
            ("b", "b", "n1"),
            ("b", "b", "n3"),
        ] {
            let target = target(account, instance, node);
            targets.insert(target.subject(), target);
        }
        for name in ["a", "a-b", "b", "c"] {
            let account = Account::new(name).unwrap();
            let walked: Vec<_> = targets
                .iter()
                .filter(|(_, t)| t.account == account)
                .collect();
            let asked: Vec<_> = targets.of_account(&account).collect();
            assert_eq!(asked, walked, "{name}");
        }
        for name in ["n1", "n2", "n3", "n4"] {
            let node = Node::new(name).unwrap();
            let walked: Vec<_> = targets.iter().filter(|(_, t)| t.node == node).collect();
            let asked: Vec<_> = targets.of_node(&node).collect();
            assert_eq!(asked, walked, "{name}");
        }
        assert_eq!(targets.len(), 5);
    }
}
