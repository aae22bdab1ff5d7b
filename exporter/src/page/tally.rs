//! Many paths as one cell: how many of them, the worst of them, layer by layer.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use pnwatch_core::name::{Node, Vantage, VantageKind};
use pnwatch_core::outcome::Layer;
use pnwatch_core::subject::Subject;
use pnwatch_core::view::{PathView, View};

use super::words::Reading;

/// Paths of one layer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Share {
    pub(super) up: usize,
    /// Paths that have a meaning.
    pub(super) all: usize,
    worst: Option<Reading>,
    /// The last round trip, where the share is one path.
    pub(super) rtt_us: Option<u32>,
}

impl Share {
    fn add(&mut self, path: &PathView) {
        let reading = Reading::of(path.verdict, path.last_outcome);
        self.worst = self.worst.max(Some(reading));
        if reading == Reading::NotApplicable {
            return;
        }
        self.all += 1;
        self.up += usize::from(reading == Reading::Up);
        self.rtt_us = path.rtt_us;
    }

    fn merge(&mut self, other: &Self) {
        self.up += other.up;
        self.all += other.all;
        self.worst = self.worst.max(other.worst);
        self.rtt_us = None;
    }

    /// The worst of its paths; unknown without any.
    pub(super) fn reading(&self) -> Reading {
        self.worst.unwrap_or(Reading::Unknown)
    }
}

/// Paths of several layers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Cell {
    pub(super) layers: BTreeMap<Layer, Share>,
}

impl Cell {
    fn add(&mut self, path: &PathView) {
        self.layers.entry(path.key.layer).or_default().add(path);
    }

    fn merge(&mut self, other: &Self) {
        for (layer, share) in &other.layers {
            match self.layers.entry(*layer) {
                Entry::Vacant(place) => drop(place.insert(*share)),
                Entry::Occupied(mut mine) => mine.get_mut().merge(share),
            }
        }
    }

    /// The worst of its layers.
    pub(super) fn reading(&self) -> Reading {
        self.layers
            .values()
            .map(Share::reading)
            .max()
            .unwrap_or(Reading::Unknown)
    }
}

/// The cells of a row by column.
pub(super) type Row<C> = BTreeMap<C, Cell>;

/// Cells by row and column.
#[derive(Debug, Default)]
pub(super) struct Grid<R, C>(pub(super) BTreeMap<R, Row<C>>);

impl<R: Ord, C: Ord> Grid<R, C> {
    fn add(&mut self, row: R, column: C, path: &PathView) {
        self.0
            .entry(row)
            .or_default()
            .entry(column)
            .or_default()
            .add(path);
    }
}

/// Rows that look the same, as one.
#[derive(Debug)]
pub(super) struct Group<K, T, C> {
    /// What they have in common besides.
    pub(super) key: K,
    /// Whose rows they are, at least one.
    pub(super) members: Vec<T>,
    /// Their cells, added up.
    pub(super) cells: Row<C>,
}

impl<K, T, C> Group<K, T, C> {
    /// The worst of its cells.
    pub(super) fn reading(&self) -> Reading {
        let cells = self.cells.values();
        cells.map(Cell::reading).max().unwrap_or(Reading::Unknown)
    }
}

/// The readings of a row, cell by cell and layer by layer.
type Looks<C> = Vec<(C, Layer, Reading)>;

/// Rows with whose they are.
type Rows<T, C> = Vec<(T, Row<C>)>;

/// Puts rows together that have the same key and the same readings in every cell, as soon as
/// there are more than `apart` of them. The worst come first, else the order is kept.
pub(super) fn grouped<K, T, C>(
    rows: impl IntoIterator<Item = (K, T, Row<C>)>,
    apart: usize,
) -> Vec<Group<K, T, C>>
where
    K: Ord + Clone,
    C: Ord + Clone,
{
    let mut alike: BTreeMap<(K, Looks<C>), Rows<T, C>> = BTreeMap::new();
    for (key, member, cells) in rows {
        let looks = cells
            .iter()
            .flat_map(|(column, cell)| {
                let layers = cell.layers.iter();
                layers.map(|(layer, share)| (column.clone(), *layer, share.reading()))
            })
            .collect();
        alike.entry((key, looks)).or_default().push((member, cells));
    }
    let mut groups = Vec::new();
    for ((key, _), rows) in alike {
        let together = rows.len() > apart;
        let first = groups.len();
        for (member, cells) in rows {
            if together && groups.len() > first {
                merge(&mut groups[first], member, &cells);
            } else {
                let (key, members) = (key.clone(), vec![member]);
                groups.push(Group {
                    key,
                    members,
                    cells,
                });
            }
        }
    }
    groups.sort_by_key(|group| std::cmp::Reverse(group.reading()));
    groups
}

fn merge<K, T, C: Ord + Clone>(group: &mut Group<K, T, C>, member: T, cells: &Row<C>) {
    group.members.push(member);
    for (column, cell) in cells {
        group.cells.entry(column.clone()).or_default().merge(cell);
    }
}

/// Which node a subject lives on.
fn nodes(view: &View) -> BTreeMap<Subject, &Node> {
    let targets = view
        .targets
        .iter()
        .map(|t| (t.target.subject(), &t.target.node));
    let nodes = view
        .nodes
        .iter()
        .map(|n| (Subject::Node(n.node.clone()), &n.node));
    targets.chain(nodes).collect()
}

/// Vantages × nodes, over everything that lives on the node.
pub(super) fn by_node(view: &View) -> Grid<&Vantage, &Node> {
    let nodes = nodes(view);
    let mut grid = Grid(BTreeMap::new());
    for path in &view.paths {
        if let Some(node) = nodes.get(&path.key.subject) {
            grid.add(&path.key.vantage, *node, path);
        }
    }
    grid
}

/// A column of the accounts' matrix.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Witness<'a> {
    /// One vantage.
    One(&'a Vantage),
    /// All of a kind, where there are too many to stand side by side.
    Kind(VantageKind),
}

/// Accounts' targets × vantages, or × kinds of vantage where there are more than `widest`.
pub(super) fn by_account(view: &View, widest: usize) -> Grid<&Subject, Witness<'_>> {
    let mut grid = Grid(BTreeMap::new());
    let singly = view.vantages.len() <= widest;
    for path in &view.paths {
        if !matches!(path.key.subject, Subject::Account(..)) {
            continue;
        }
        let vantage = &path.key.vantage;
        let column = if singly {
            Witness::One(vantage)
        } else {
            Witness::Kind(vantage.kind())
        };
        grid.add(&path.key.subject, column, path);
    }
    grid
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(reading: Reading) -> Row<u8> {
        let share = Share {
            up: usize::from(reading == Reading::Up),
            all: 1,
            worst: Some(reading),
            rtt_us: Some(300),
        };
        let layers = BTreeMap::from([(Layer::Tcp, share)]);
        BTreeMap::from([(0, Cell { layers })])
    }

    #[test]
    fn rows_that_look_alike_become_one() {
        let rows = |bad: usize, good: usize| {
            let bad = (0..bad).map(|n| ('k', n, row(Reading::Down)));
            let good = (0..good).map(|n| ('k', 100 + n, row(Reading::Up)));
            good.chain(bad).collect::<Vec<_>>()
        };
        let seen = |groups: &[Group<char, usize, u8>]| -> Vec<(Reading, usize)> {
            let each = groups.iter().map(|g| (g.reading(), g.members.len()));
            each.collect()
        };
        let many = grouped(rows(5, 9), 3);
        assert_eq!(seen(&many), [(Reading::Down, 5), (Reading::Up, 9)]);
        let share = many[1].cells[&0].layers[&Layer::Tcp];
        assert_eq!((share.up, share.all, share.rtt_us), (9, 9, None));
        let few = grouped(rows(1, 2), 3);
        assert_eq!(few.len(), 3);
        assert_eq!(few[0].reading(), Reading::Down);
        assert_eq!(grouped(rows(5, 9), usize::MAX).len(), 14);
    }
}
