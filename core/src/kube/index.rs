//! The index: one shelf per kind, the changes of watches in, a [`Reading`] out.

use std::collections::BTreeMap;

use super::Reading;
use super::check;
use super::derive;
use super::marks::Marks;
use super::object::{Entry, Key, Kind, Object};
use super::settings::{Profile, Settings};
use super::shelf::Shelf;
use super::view::Objects;
use crate::time::{Now, Timestamp};

/// What a watch of one kind says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// A complete list begins.
    Init,
    /// An object of that list.
    InitApply(Entry),
    /// The list is complete: what is not in it is gone.
    InitDone,
    /// An object came or changed.
    Apply(Entry),
    /// An object went.
    Delete(Key),
    /// The kind cannot be read now.
    Failed {
        /// Why, in the server's words.
        why: String,
        /// Whether it was refused for good (403, 404) and waiting does not help.
        denied: bool,
    },
}

/// All objects that are watched.
#[derive(Debug, Clone)]
pub struct Index {
    settings: Settings,
    shelves: BTreeMap<Kind, Shelf>,
    marks: Marks,
}

impl Index {
    /// An index of `kinds` that has seen nothing yet.
    pub fn new(settings: Settings, kinds: &[Kind]) -> Self {
        Self {
            settings,
            shelves: kinds.iter().map(|k| (*k, Shelf::default())).collect(),
            marks: Marks::default(),
        }
    }

    /// The kinds that `profile` needs; Machines only where the Cluster API is used.
    pub fn kinds(profile: Profile, machines: bool) -> Vec<Kind> {
        let mut kinds = match profile {
            Profile::Kura => vec![
                Kind::Instance,
                Kind::Service,
                Kind::Slice,
                Kind::Pod,
                Kind::Runner,
                Kind::Node,
                Kind::Policy,
                Kind::Definition,
            ],
            Profile::Generic => vec![Kind::Service, Kind::Slice, Kind::Node],
        };
        if machines {
            kinds.push(Kind::Machine);
        }
        kinds
    }

    /// How objects are read.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Takes what the watch of `kind` says. A kind that is not watched is ignored.
    pub fn take(&mut self, kind: Kind, change: Change, now: Now) {
        if let Some(shelf) = self.shelves.get_mut(&kind) {
            shelf.take(change, now);
        }
    }

    /// What the objects add up to. Remembers since when each contradiction has held; reads no
    /// object differently for having been called before.
    pub fn judge(&mut self, now: Now) -> Reading {
        let mut marks = std::mem::take(&mut self.marks);
        let objects = Objects::new(&self.settings, &self.shelves);
        let needed = |kind: &Kind| kind.makes_targets(self.settings.profile);
        let complete = self
            .shelves
            .iter()
            .filter(|(kind, _)| needed(kind))
            .all(|(_, shelf)| shelf.speaks());
        let derived = derive::derive(&objects, &mut marks, now);
        let mut diagnoses = check::freshness(&self.shelves, &mut marks, now);
        if complete {
            diagnoses.extend(check::consistency(&objects, &mut marks, now));
        }
        let mut stale: Vec<(Kind, Option<Timestamp>)> = Vec::new();
        for (kind, shelf) in &self.shelves {
            match &shelf.failing {
                Some(failing) => stale.push((*kind, Some(failing.since.wall))),
                None if !shelf.listed => stale.push((*kind, None)),
                None => {}
            }
        }
        let reading = Reading {
            stale_since: stale.iter().filter_map(|(_, since)| *since).min(),
            stale: stale.into_iter().map(|(kind, _)| kind).collect(),
            inventory: complete.then_some(derived.inventory),
            diagnoses,
            scrapes: derived.scrapes,
            gateways: derived.gateways,
            runners: derived.runners,
        };
        marks.close();
        self.marks = marks;
        reading
    }
}

macro_rules! each {
    ($($name:ident: $kind:ident, $variant:ident, $type:ty;)+) => {
        impl<'a> Objects<'a> {
            $(pub(super) fn $name(&self) -> impl Iterator<Item = &'a $type> + use<'a> {
                self.of(Kind::$kind).filter_map(|object| match object {
                    Object::$variant(object) => Some(object),
                    _ => None,
                })
            })+
        }
    };
}

each! {
    instances: Instance, Instance, super::object::InstanceObject;
    services: Service, Service, super::object::ServiceObject;
    slices: Slice, Slice, super::object::SliceObject;
    pods: Pod, Pod, super::object::PodObject;
    runners: Runner, Pod, super::object::PodObject;
    nodes: Node, Node, super::object::NodeObject;
    policies: Policy, Policy, super::object::PolicyObject;
    machines: Machine, Machine, super::object::MachineObject;
    definitions: Definition, Definition, super::object::DefinitionObject;
}
