// The pages work without this. It says how long ago a time was, puts the cursor into the search at "/", and while
// somebody looks it loads again what moves: the overview and the status every half minute, the part `live` of a page as
// often as the page says.
"use strict";

const UNITS = [[86400, "d"], [3600, "h"], [60, "min"]];

function ago(seconds) {
  for (const [size, name] of UNITS) {
    if (seconds >= size) return `${Math.floor(seconds / size)} ${name} ago`;
  }
  return "just now";
}

function tellAges(part) {
  for (const time of part.querySelectorAll("time[datetime]")) {
    const then = Date.parse(time.dateTime);
    const seconds = (Date.now() - then) / 1000;
    if (Number.isNaN(then) || seconds < -60) continue;
    time.title = time.dateTime;
    if (seconds < 7 * 86400) time.textContent = ago(seconds);
  }
}

tellAges(document);

document.addEventListener("keydown", (event) => {
  const typing = event.target.closest("input, select, textarea");
  if (event.key !== "/" || typing || event.ctrlKey || event.metaKey || event.altKey) return;
  const search = document.querySelector("input[type=search]");
  if (search) {
    event.preventDefault();
    search.focus();
    search.select();
  }
});

if (["/", "/status"].includes(location.pathname)) {
  setInterval(() => {
    const busy = document.hidden || document.querySelector("details[open]") || document.activeElement !== document.body;
    if (!busy) location.reload();
  }, 30000);
}

const live = document.querySelector("#live[data-live]");
if (live) {
  const pause = Math.max(2, Number(live.dataset.live) || 5) * 1000;
  let left = 900; // looks; then somebody who still wants to know loads the page again
  const look = async () => {
    // What somebody reads, marks or has the cursor in stays under their eyes.
    const busy = document.hidden || live.contains(document.activeElement) || !getSelection().isCollapsed;
    if (!busy) {
      left -= 1;
      try {
        const answer = await fetch(location.href, { headers: { Accept: "text/html" }, redirect: "error" });
        const page = new DOMParser().parseFromString(await answer.text(), "text/html");
        const fresh = answer.ok && page.getElementById("live");
        if (fresh) {
          tellAges(fresh);
          live.replaceChildren(...fresh.childNodes);
          if (!fresh.dataset.live) return;
        }
      } catch {
        // The hub may be starting again.
      }
    }
    if (left > 0) setTimeout(look, pause);
  };
  setTimeout(look, pause);
}
