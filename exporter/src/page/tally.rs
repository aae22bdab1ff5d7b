//! Many paths as one cell: how many of them, the worst of them, layer by layer.

use std::collections::BTreeMap;

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

    /// The worst of its layers.
    pub(super) fn reading(&self) -> Reading {
        self.layers
            .values()
            .map(Share::reading)
            .max()
            .unwrap_or(Reading::Unknown)
    }
}

/// Cells by row and column.
#[derive(Debug, Default)]
pub(super) struct Grid<R, C>(pub(super) BTreeMap<R, BTreeMap<C, Cell>>);

impl<R: Ord, C: Ord> Grid<R, C> {
    fn add(&mut self, row: R, column: C, path: &PathView) {
        self.0
            .entry(row)
            .or_default()
            .entry(column)
            .or_default()
            .add(path);
    }

    /// The worst of a row.
    pub(super) fn row(&self, row: &R) -> Reading {
        let cells = self.0.get(row).into_iter().flat_map(BTreeMap::values);
        cells.map(Cell::reading).max().unwrap_or(Reading::Unknown)
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
