// Keeps the page current: reloads its main part on a transition and each few seconds, and says
// so when nothing was heard from the exporter for five seconds.
"use strict";
(() => {
  const live = document.getElementById("live");
  let heard = Date.now();
  let pending = false;

  async function refresh() {
    if (pending) return;
    pending = true;
    try {
      const answer = await fetch("/", { cache: "no-store" });
      if (!answer.ok) return;
      const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
      for (const part of ["header", "main"]) {
        document.querySelector(part).replaceWith(fresh.querySelector(part));
      }
      document.title = fresh.title;
    } catch {
      // The heartbeat says it.
    } finally {
      pending = false;
    }
  }

  const events = new EventSource("/v1/events");
  const hear = () => { heard = Date.now(); };
  events.addEventListener("snapshot", () => { hear(); refresh(); });
  events.addEventListener("transition", () => { hear(); refresh(); });
  events.addEventListener("heartbeat", hear);
  setInterval(refresh, 5000);
  setInterval(() => {
    const silent = Math.round((Date.now() - heard) / 1000);
    document.body.classList.toggle("stale", silent >= 5);
    const at = document.getElementById("live") || live;
    if (at) at.textContent = silent >= 5 ? `· no word from the exporter for ${silent} s: this is the past` : "· live";
  }, 1000);
})();
