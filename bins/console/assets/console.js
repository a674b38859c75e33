// The pages work without this. It says how long ago a time was, puts the cursor into the search at "/", and loads the
// overview and the status again every half minute while somebody looks.
"use strict";

const UNITS = [[86400, "d"], [3600, "h"], [60, "min"]];

function ago(seconds) {
  for (const [size, name] of UNITS) {
    if (seconds >= size) return `${Math.floor(seconds / size)} ${name} ago`;
  }
  return "just now";
}

for (const time of document.querySelectorAll("time[datetime]")) {
  const then = Date.parse(time.dateTime);
  const seconds = (Date.now() - then) / 1000;
  if (Number.isNaN(then) || seconds < -60) continue;
  time.title = time.dateTime;
  if (seconds < 7 * 86400) time.textContent = ago(seconds);
}

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
