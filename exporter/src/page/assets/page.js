// Keeps the page current. Everything is rendered by the exporter: on each transition and each
// heartbeat the live part is fetched again and put in place node by node, so that focus, text
// selection and scrolling stay where they are. Says so when nothing is heard any more.
"use strict";
(() => {
  const STALE_AFTER = 3000; // three heartbeats
  const main = document.getElementById("live");
  const here = document.getElementById("here");
  const stale = document.getElementById("stale");
  const clock = document.getElementById("clock");
  document.documentElement.classList.add("js");

  document.addEventListener("click", async (event) => {
    const button = event.target.closest("button.copy");
    if (!button) return;
    const code = button.parentElement.querySelector("code");
    try {
      await navigator.clipboard.writeText(code.textContent.trimEnd());
      button.dataset.said = "Copied";
    } catch {
      // No permission, or no secure context: select it, so that one key copies it.
      getSelection().selectAllChildren(code);
      button.dataset.said = "Selected";
    }
    setTimeout(() => delete button.dataset.said, 2000);
  });

  if (!main) return; // a runbook: nothing moves

  // Makes `old` like `fresh`, changing as little as possible.
  function morph(old, fresh) {
    for (const { name } of [...old.attributes]) {
      // What the reader opened or pressed is the reader's.
      if (!fresh.hasAttribute(name) && name !== "data-said" && name !== "open") old.removeAttribute(name);
    }
    for (const { name, value } of fresh.attributes) {
      if (old.getAttribute(name) !== value) old.setAttribute(name, value);
    }
    morphChildren(old, fresh);
  }

  const alike = (a, b) =>
    a && a.nodeName === b.nodeName && (a.id || "") === (b.id || "");

  function morphChildren(old, fresh) {
    let at = old.firstChild;
    for (const wanted of [...fresh.childNodes]) {
      let found = at;
      if (wanted.id) {
        while (found && !alike(found, wanted)) found = found.nextSibling;
      }
      if (alike(found, wanted)) {
        while (at !== found) {
          const gone = at;
          at = at.nextSibling;
          gone.remove();
        }
        at = found.nextSibling;
        if (wanted.nodeType === Node.ELEMENT_NODE) morph(found, wanted);
        else if (found.data !== wanted.data) found.data = wanted.data;
      } else {
        old.insertBefore(wanted, at);
      }
    }
    while (at) {
      const gone = at;
      at = at.nextSibling;
      gone.remove();
    }
  }

  // Times stand in UTC, which logs speak; the reader's own time is the title of each.
  function localise() {
    for (const time of document.querySelectorAll("time")) {
      const local = new Date(time.dateTime);
      if (!Number.isNaN(local.valueOf())) time.title = `${time.dateTime} (${local.toLocaleString()} here)`;
    }
  }
  localise();

  let heard = performance.now();
  let heardAt = clock.textContent;
  let running = false;
  let again = false;

  async function refresh() {
    if (running) {
      again = true;
      return;
    }
    running = true;
    try {
      do {
        again = false;
        const answer = await fetch(`${location.pathname}?live`, {
          cache: "no-store",
          signal: AbortSignal.timeout(5000),
        });
        const parsed = new DOMParser().parseFromString(await answer.text(), "text/html");
        const title = parsed.getElementById("title");
        if (!title) break; // a refusal, not a page: the next heartbeat asks again
        document.title = title.content.textContent;
        title.remove();
        morphChildren(main, parsed.body);
        localise();
      } while (again);
    } catch {
      // The silence is told below.
    } finally {
      running = false;
    }
  }

  function hear(event) {
    heard = performance.now();
    const at = JSON.parse(event.data).at;
    if (at) {
      heardAt = at.slice(11, 19);
      clock.textContent = heardAt;
      const local = new Date(at);
      if (here && local.getTimezoneOffset() !== 0) here.textContent = ` · ${local.toLocaleTimeString()} here`;
    }
    refresh();
  }

  function watch() {
    const events = new EventSource("/v1/events");
    for (const name of ["snapshot", "transition", "heartbeat"]) {
      events.addEventListener(name, hear);
    }
    // A refused stream is not opened again by the browser.
    events.addEventListener("error", () => {
      if (events.readyState === EventSource.CLOSED) setTimeout(watch, 2000);
    });
  }

  setInterval(() => {
    const silent = performance.now() - heard;
    const late = silent >= STALE_AFTER;
    document.body.classList.toggle("is-stale", late);
    document.getElementById("pulse-word").textContent = late ? "as of" : "live";
    const words = `No word from the exporter since ${heardAt} UTC. What stands here is the state of then, not of now.`;
    if (late && stale.textContent !== words) stale.textContent = words;
    if (stale.hidden === late) stale.hidden = !late;
  }, 500);

  watch();
})();
