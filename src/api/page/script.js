// Keeps the page current: each `refresh` on the event stream fetches the page again and changes
// what differs, in place, so that focus, scroll position, selection and opened details stay.
"use strict";
(() => {
  const live = document.getElementById("live");
  const QUIET_MS = 60_000; // without a refresh for this long, the stream is taken for dead
  const GAP_MS = 1_000; // at most one fetch in this time
  let stream, retryMs = 1_000, heardAt = Date.now(), fetching = false, due = false, state = "";

  // Announced only when it changes: a live region that speaks every second is noise.
  function show(next) {
    if (next === state) return;
    state = next;
    live.className = next;
    const time = new Date().toISOString().slice(11, 16);
    live.textContent = next === "live" ? "Live" : `Reconnecting; as of ${time} UTC`;
  }

  function connect() {
    stream?.close();
    heardAt = Date.now();
    stream = new EventSource("/page/events");
    stream.addEventListener("open", () => { show("live"); retryMs = 1_000; refresh(); });
    stream.addEventListener("refresh", () => { heardAt = Date.now(); show("live"); refresh(); });
    stream.addEventListener("error", () => {
      show("reconnecting");
      // After an HTTP error the browser gives up by itself; we do not.
      if (stream.readyState === EventSource.CLOSED) {
        setTimeout(connect, retryMs);
        retryMs = Math.min(retryMs * 2, 30_000);
      }
    });
  }

  async function refresh() {
    due = true;
    if (fetching || document.hidden) return;
    fetching = true;
    due = false;
    try {
      const answer = await fetch(location.pathname + location.search, { headers: { Accept: "text/html" } });
      if (answer.ok) apply(new DOMParser().parseFromString(await answer.text(), "text/html"));
    } catch {
      // The stream tells that the server is gone.
    }
    setTimeout(() => { fetching = false; if (due) refresh(); }, GAP_MS);
  }

  function apply(page) {
    const focused = document.activeElement;
    for (const part of ["main", "body > footer"]) {
      const mine = document.querySelector(part), theirs = page.querySelector(part);
      if (mine && theirs) change(mine, theirs);
    }
    // A row that moved up has lost the focus on its way.
    if (focused?.isConnected && focused !== document.activeElement) focused.focus({ preventScroll: true });
    document.title = page.title;
    const icon = "link[rel=icon]";
    document.querySelector(icon).href = page.querySelector(icon).href;
  }

  const key = (node) => node.nodeType === 1 ? node.dataset?.key || node.id : "";
  const alike = (a, b) => a.nodeName === b.nodeName && key(a) === key(b);

  // Makes `mine` like `theirs` and touches only what differs.
  function change(mine, theirs) {
    if (mine.isEqualNode(theirs)) return;
    if (mine.nodeType !== 1) { mine.nodeValue = theirs.nodeValue; return; }
    for (const { name } of [...mine.attributes])
      if (!theirs.hasAttribute(name) && !(name === "open" && mine.nodeName === "DETAILS")) mine.removeAttribute(name);
    for (const { name, value } of theirs.attributes)
      if (mine.getAttribute(name) !== value && !(name === "open" && mine.nodeName === "DETAILS")) mine.setAttribute(name, value);
    const keyed = new Map([...mine.childNodes].filter(key).map((node) => [key(node), node]));
    let next = mine.firstChild;
    for (const child of [...theirs.childNodes]) {
      const match = key(child) ? keyed.get(key(child)) : next;
      if (match && alike(match, child)) {
        keyed.delete(key(child));
        if (match === next) next = next.nextSibling;
        else mine.insertBefore(match, next);
        change(match, child);
      } else {
        mine.insertBefore(document.importNode(child, true), next);
      }
    }
    while (next) { const gone = next; next = next.nextSibling; gone.remove(); }
  }

  document.addEventListener("visibilitychange", () => { if (!document.hidden && due) refresh(); });
  setInterval(() => {
    if (Date.now() - heardAt > QUIET_MS) { show("reconnecting"); connect(); }
  }, 15_000);
  connect();
})();
