//! The objects, the one resource version and the history of changes.
//!
//! Everything is in memory behind one lock that is never held across an await.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use serde_json::{Map, Value};

/// Address of an object: storage name of the resource, namespace (empty when cluster-scoped), name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key {
    pub(crate) resource: String,
    pub(crate) namespace: String,
    pub(crate) name: String,
}

/// One entry of the history; `before` lets a watch see objects enter and leave its selector, and a list look back.
#[derive(Debug, Clone)]
pub(crate) struct Change {
    pub(crate) version: u64,
    pub(crate) key: Key,
    pub(crate) before: Option<Arc<Value>>,
    pub(crate) what: What,
}

#[derive(Debug, Clone)]
pub(crate) enum What {
    /// Created or changed; the object after.
    Stored(Arc<Value>),
    /// Deleted; the last state, with the version of the deletion.
    Deleted(Arc<Value>),
    /// A line that a fault sends into the watches of this resource as it is.
    Raw(String),
}

/// A version that the history no longer (or not yet) reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OutOfReach {
    TooOld { asked: u64, oldest: u64 },
    Future { asked: u64, current: u64 },
}

#[derive(Debug)]
pub(crate) struct Store {
    objects: BTreeMap<Key, Arc<Value>>,
    version: u64,
    /// No watch may start, and no list look back, before this version.
    floor: u64,
    /// The history holds every change after this version; open watches read on from anywhere above it.
    kept: u64,
    history: VecDeque<Change>,
    window: usize,
    uids: u64,
}

impl Store {
    /// `window` is the number of changes that watches can go back.
    pub(crate) fn new(window: usize) -> Self {
        Self {
            objects: BTreeMap::new(),
            version: 1,
            floor: 1,
            kept: 1,
            history: VecDeque::new(),
            window,
            uids: 0,
        }
    }

    pub(crate) fn version(&self) -> u64 {
        self.version
    }

    pub(crate) fn get(&self, key: &Key) -> Option<Arc<Value>> {
        self.objects.get(key).cloned()
    }

    /// A fresh UID: unique within this server, and the same in every run.
    pub(crate) fn next_uid(&mut self) -> String {
        self.uids += 1;
        format!("00000000-0000-4000-8000-{:012x}", self.uids)
    }

    /// Stores the object under the next resource version.
    pub(crate) fn put(&mut self, key: Key, mut object: Value) -> Arc<Value> {
        self.version += 1;
        stamp(&mut object, self.version);
        let object = Arc::new(object);
        let before = self.objects.insert(key.clone(), Arc::clone(&object));
        self.record(key, before, What::Stored(Arc::clone(&object)));
        object
    }

    /// Removes the object; its last state carries the version of the deletion, as watches expect.
    pub(crate) fn remove(&mut self, key: &Key) -> Option<Arc<Value>> {
        let before = self.objects.remove(key)?;
        self.version += 1;
        let mut last = (*before).clone();
        stamp(&mut last, self.version);
        let last = Arc::new(last);
        self.record(key.clone(), Some(before), What::Deleted(Arc::clone(&last)));
        Some(last)
    }

    /// Sends a line into the watches of a resource.
    pub(crate) fn raw(&mut self, resource: &str, line: String) {
        self.version += 1;
        let key = Key {
            resource: resource.into(),
            namespace: String::new(),
            name: String::new(),
        };
        self.record(key, None, What::Raw(line));
    }

    fn record(&mut self, key: Key, before: Option<Arc<Value>>, what: What) {
        self.history.push_back(Change {
            version: self.version,
            key,
            before,
            what,
        });
        while self.history.len() > self.window {
            if let Some(gone) = self.history.pop_front() {
                self.kept = gone.version;
                self.floor = self.floor.max(gone.version);
            }
        }
    }

    /// A compaction after some unrelated write: every version seen so far is too old to start from. With
    /// `everybody`, open watches lose their place too.
    pub(crate) fn expire(&mut self, everybody: bool) {
        self.version += 1;
        self.floor = self.version;
        if everybody {
            self.kept = self.version;
            self.history.clear();
        }
    }

    /// Every change after `version`, oldest first, for a watch that is already open.
    pub(crate) fn since(&self, version: u64) -> Result<impl Iterator<Item = &Change>, OutOfReach> {
        if version < self.kept {
            return Err(OutOfReach::TooOld {
                asked: version,
                oldest: self.kept,
            });
        }
        let from = self
            .history
            .partition_point(|change| change.version <= version);
        Ok(self.history.range(from..))
    }

    /// Whether a watch may start from (or a list look back to) this version.
    pub(crate) fn reach(&self, version: u64) -> Result<(), OutOfReach> {
        if version > self.version {
            Err(OutOfReach::Future {
                asked: version,
                current: self.version,
            })
        } else if version < self.floor {
            Err(OutOfReach::TooOld {
                asked: version,
                oldest: self.floor,
            })
        } else {
            Ok(())
        }
    }

    /// The objects of a resource in the order of their addresses, as they are now.
    pub(crate) fn all<'a>(
        &'a self,
        resource: &'a str,
        namespace: Option<&'a str>,
    ) -> impl Iterator<Item = (&'a Key, &'a Arc<Value>)> {
        let first = Key {
            resource: resource.into(),
            namespace: namespace.unwrap_or_default().into(),
            name: String::new(),
        };
        self.objects.range(first..).take_while(move |(key, _)| {
            key.resource == resource && namespace.is_none_or(|ns| key.namespace == ns)
        })
    }

    /// The same as they were at a version that the history still reaches: pages of one list agree with one another.
    pub(crate) fn all_at(
        &self,
        resource: &str,
        namespace: Option<&str>,
        version: u64,
    ) -> Result<BTreeMap<Key, Arc<Value>>, OutOfReach> {
        self.reach(version)?;
        let mut found: BTreeMap<Key, Arc<Value>> = self
            .all(resource, namespace)
            .map(|(k, v)| (k.clone(), Arc::clone(v)))
            .collect();
        for change in self
            .history
            .iter()
            .rev()
            .take_while(|c| c.version > version)
        {
            let ours = change.key.resource == resource
                && namespace.is_none_or(|ns| change.key.namespace == ns);
            match (&change.what, &change.before) {
                _ if !ours => {}
                (What::Raw(_), _) => {}
                (_, Some(before)) => {
                    found.insert(change.key.clone(), Arc::clone(before));
                }
                (_, None) => {
                    found.remove(&change.key);
                }
            }
        }
        Ok(found)
    }
}

fn stamp(object: &mut Value, version: u64) {
    metadata_mut(object).insert("resourceVersion".into(), version.to_string().into());
}

/// The metadata map, made if it is not there; whatever stood in its place goes.
pub(crate) fn metadata_mut(object: &mut Value) -> &mut Map<String, Value> {
    map_in(map_of(object).entry("metadata").or_insert(Value::Null))
}

/// The object's own map, made if the value is none.
pub(crate) fn map_of(object: &mut Value) -> &mut Map<String, Value> {
    map_in(object)
}

fn map_in(value: &mut Value) -> &mut Map<String, Value> {
    if !value.is_object() {
        *value = Value::Object(Map::new());
    }
    // Locally provable: the line above has just made it an object.
    value
        .as_object_mut()
        .expect("a value that was just made an object is one")
}
