//! Watches: JSON lines from a place in the history, with initial events, bookmarks and a time limit.
//!
//! A watch keeps a cursor, not a queue of its own: a slow client costs no memory, and one that falls out of the
//! history gets a 410. Dropping the stream ends the watch.

use std::{collections::VecDeque, convert::Infallible, sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::{Stream, stream};
use serde_json::{Value, json};
use tokio::{sync::watch, time::Instant};

use crate::{
    convert::to_served,
    kinds::Kind,
    select::Selector,
    server::Shared,
    status::Refusal,
    store::{Change, OutOfReach, What},
};

/// What a client asked to watch.
#[derive(Debug, Clone)]
pub(crate) struct WatchRequest {
    pub(crate) kind: Arc<Kind>,
    pub(crate) namespace: Option<String>,
    pub(crate) selector: Selector,
    /// Empty and `0` both mean "as it is now".
    pub(crate) resource_version: String,
    pub(crate) bookmarks: bool,
    /// `sendInitialEvents`, when the client gave it.
    pub(crate) initial_events: Option<bool>,
    pub(crate) timeout: Duration,
    /// Metadata only (`PartialObjectMetadata`).
    pub(crate) partial: bool,
}

struct Watcher {
    shared: Arc<Shared>,
    request: WatchRequest,
    cursor: u64,
    lines: VecDeque<String>,
    news: watch::Receiver<u64>,
    ends: Instant,
    next_bookmark: Instant,
    over: bool,
}

/// Opens a watch; refusals that a real server gives as HTTP answers come at once, a 410 comes in the stream.
pub(crate) fn open(
    shared: &Arc<Shared>,
    request: WatchRequest,
) -> Result<impl Stream<Item = Result<Bytes, Infallible>> + Send + use<>, Refusal> {
    // Subscribed before the store is read, so that no change falls between.
    let news = shared.news.subscribe();
    let now = Instant::now();
    let mut watcher = Watcher {
        shared: Arc::clone(shared),
        cursor: 0,
        lines: VecDeque::new(),
        news,
        ends: now + request.timeout,
        next_bookmark: now + shared.options.bookmark_every,
        over: false,
        request,
    };
    watcher.start()?;
    Ok(stream::unfold(watcher, |mut watcher| async move {
        let line = watcher.next().await?;
        Some((Ok(Bytes::from(line)), watcher))
    }))
}

impl Watcher {
    fn start(&mut self) -> Result<(), Refusal> {
        let shared = Arc::clone(&self.shared);
        let store = shared.store();
        let asked = match self.request.resource_version.as_str() {
            "" => 0,
            text => text.parse().map_err(|_| {
                Refusal::bad_request(format!(
                    "Invalid resource version: strconv.ParseUint: parsing {text:?}: invalid syntax"
                ))
            })?,
        };
        let current = store.version();
        let initial = self.request.initial_events.unwrap_or(asked == 0);
        if asked > current {
            return Err(Refusal::from_the_future(asked, current));
        }
        if !initial && asked != 0 {
            self.cursor = asked;
            if let Err(OutOfReach::TooOld { asked, oldest }) = store.reach(asked) {
                let refusal = Refusal::expired(asked, oldest);
                if shared.options.gone_as_http {
                    return Err(refusal);
                }
                self.fail(&refusal);
            }
            return Ok(());
        }
        self.cursor = current;
        if initial {
            let storage = self.request.kind.storage();
            for (_, object) in store.all(&storage, self.request.namespace.as_deref()) {
                let object = to_served(&self.request.kind, object);
                if self.request.selector.matches(&object) {
                    let line = self.line("ADDED", &object);
                    self.lines.push_back(line);
                }
            }
        }
        if self.request.initial_events == Some(true) && self.request.bookmarks {
            self.bookmark(true);
        }
        Ok(())
    }

    /// The next line, waiting for it; `None` ends the watch.
    async fn next(&mut self) -> Option<String> {
        loop {
            if let Some(line) = self.lines.pop_front() {
                return Some(line);
            }
            if self.over {
                return None;
            }
            self.news.mark_unchanged();
            self.read_on();
            if !self.lines.is_empty() {
                continue;
            }
            let bookmark = if self.request.bookmarks {
                self.next_bookmark
            } else {
                self.ends
            };
            tokio::select! {
                changed = self.news.changed() => self.over = changed.is_err(),
                () = tokio::time::sleep_until(self.ends) => {
                    self.over = true;
                    if self.request.bookmarks {
                        self.bookmark(false);
                    }
                }
                () = tokio::time::sleep_until(bookmark) => {
                    self.next_bookmark = Instant::now() + self.shared.options.bookmark_every;
                    if self.request.bookmarks {
                        self.bookmark(false);
                    }
                }
            }
        }
    }

    /// Turns what has happened since the cursor into lines.
    fn read_on(&mut self) {
        let shared = Arc::clone(&self.shared);
        let store = shared.store();
        match store.since(self.cursor) {
            Ok(changes) => {
                let storage = self.request.kind.storage();
                for change in changes.filter(|c| c.key.resource == storage) {
                    if let Some(line) = self.event(change) {
                        self.lines.push_back(line);
                    }
                }
                self.cursor = store.version();
            }
            Err(
                OutOfReach::TooOld { asked, oldest }
                | OutOfReach::Future {
                    asked,
                    current: oldest,
                },
            ) => {
                self.fail(&Refusal::expired(asked, oldest));
            }
        }
    }

    fn event(&self, change: &Change) -> Option<String> {
        let object = match &change.what {
            What::Raw(line) => return Some(format!("{line}\n")),
            What::Stored(object) | What::Deleted(object) => object,
        };
        if self
            .request
            .namespace
            .as_ref()
            .is_some_and(|ns| *ns != change.key.namespace)
        {
            return None;
        }
        let object = to_served(&self.request.kind, object);
        let matches = |object: &Arc<Value>| {
            self.request
                .selector
                .matches(&to_served(&self.request.kind, object))
        };
        let was = change.before.as_ref().is_some_and(matches);
        let is = matches!(change.what, What::Stored(_)) && self.request.selector.matches(&object);
        let what = match (was, is) {
            (false, true) => "ADDED",
            (true, true) => "MODIFIED",
            (true, false) => "DELETED",
            (false, false) => return None,
        };
        Some(self.line(what, &object))
    }

    fn line(&self, what: &str, object: &Value) -> String {
        let object = if self.request.partial {
            partial(object)
        } else {
            object.clone()
        };
        format!("{}\n", json!({"type": what, "object": object}))
    }

    fn bookmark(&mut self, end_of_initial: bool) {
        let mut metadata =
            json!({"resourceVersion": self.cursor.to_string(), "creationTimestamp": null});
        if end_of_initial {
            metadata["annotations"] = json!({"k8s.io/initial-events-end": "true"});
        }
        let kind = &self.request.kind;
        let object =
            json!({"kind": kind.kind, "apiVersion": kind.api_version(), "metadata": metadata});
        self.lines.push_back(format!(
            "{}\n",
            json!({"type": "BOOKMARK", "object": object})
        ));
    }

    fn fail(&mut self, refusal: &Refusal) {
        self.lines.push_back(format!(
            "{}\n",
            json!({"type": "ERROR", "object": refusal.to_status()})
        ));
        self.over = true;
    }
}

/// The object as `PartialObjectMetadata`.
pub(crate) fn partial(object: &Value) -> Value {
    json!({
        "kind": "PartialObjectMetadata",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": object["metadata"],
    })
}
