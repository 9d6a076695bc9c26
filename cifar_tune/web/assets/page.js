"use strict";
// What all pages share: sorting tables, renewing parts of a page, asking for changes, local times.

const said = (text) => {
  const place = document.getElementById("said");
  place.textContent = text;
  clearTimeout(said.timer);
  said.timer = setTimeout(() => { place.textContent = ""; }, 12000);
};

async function ask(method, path, body) {
  const options = { method, headers: { Accept: "application/json" } };
  if (body !== undefined) {
    options.headers["Content-Type"] = "application/json";
    options.body = JSON.stringify(body);
  }
  const answer = await fetch(path, options);
  if (answer.status === 401) { location.href = `/login?next_page=${encodeURIComponent(location.pathname)}`; throw new Error("logged out"); }
  const told = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new Error(told.detail || `the server answers with status ${answer.status}`);
  return told;
}

function localTimes(root) {
  for (const time of root.querySelectorAll("time[datetime]")) {
    time.textContent = new Date(time.dateTime).toLocaleString([], { dateStyle: "short", timeStyle: "medium" });
  }
}

// --- sorting: the key of a cell is its data-key, else its text; the choice stays when the table is renewed
const sorted = new Map();

function sortTable(table, column, direction) {
  const body = table.tBodies[0];
  const key = (row) => {
    const cell = row.cells[column];
    const text = cell.dataset.key ?? cell.textContent.trim();
    const number = text === "" ? NaN : Number(text);
    return Number.isNaN(number) ? text.toLowerCase() : number;
  };
  const rows = [...body.rows].map((row) => [key(row), row]);
  rows.sort(([a], [b]) => {
    if (typeof a !== typeof b) return typeof a === "number" ? -1 : 1;
    return direction * (a < b ? -1 : a > b ? 1 : 0);
  });
  body.append(...rows.map(([, row]) => row));
  [...table.tHead.rows[0].cells].forEach((cell, index) => {
    if (cell.hasAttribute("aria-sort")) cell.setAttribute("aria-sort", index === column ? (direction > 0 ? "ascending" : "descending") : "none");
  });
}

function prepareTables(root) {
  for (const table of root.querySelectorAll("table.sortable")) {
    [...table.tHead.rows[0].cells].forEach((cell, column) => {
      if (!cell.hasAttribute("aria-sort")) return;
      const button = cell.querySelector("button");
      button.addEventListener("click", () => {
        const [before, direction] = sorted.get(table.id) || [];
        sorted.set(table.id, [column, before === column ? -direction : 1]);
        sortTable(table, ...sorted.get(table.id));
      });
    });
    if (sorted.has(table.id)) sortTable(table, ...sorted.get(table.id));
  }
}

// --- buttons that ask for a change: data-method, data-path, data-body, data-confirm
document.addEventListener("click", async (event) => {
  const button = event.target.closest("button[data-path]");
  if (!button) return;
  if (button.dataset.confirm && !await sure(button.dataset.confirm)) return;
  button.disabled = true;
  try {
    const body = button.dataset.body ? JSON.parse(button.dataset.body) : undefined;
    await ask(button.dataset.method, button.dataset.path, body);
    said(button.dataset.done || "Done.");
    if (button.dataset.then) location.href = button.dataset.then; else await renew();
  } catch (error) {
    said(error.message);
  } finally {
    button.disabled = false;
  }
});

function sure(question) {
  const dialog = document.createElement("dialog");
  const text = document.createElement("p");
  text.textContent = question;
  text.id = "question";
  dialog.setAttribute("aria-labelledby", text.id);
  const form = document.createElement("form");
  form.method = "dialog";
  form.className = "tools";
  for (const [value, words, kind] of [["no", "No", ""], ["yes", "Yes", "danger"]]) {
    const button = document.createElement("button");
    button.value = value; button.textContent = words; button.className = kind;
    form.append(button);
  }
  dialog.append(text, form);
  document.body.append(dialog);
  dialog.showModal();
  return new Promise((resolve) => dialog.addEventListener("close", () => { resolve(dialog.returnValue === "yes"); dialog.remove(); }));
}

// --- streams of events: only while somebody looks, since a browser opens six connections to one server at most
function listen(path, name, heard) {
  let source = null;
  const follow = () => {
    if (document.hidden) { source?.close(); source = null; }
    else if (!source) { source = new EventSource(path); source.addEventListener(name, heard); }
  };
  document.addEventListener("visibilitychange", follow);
  follow();
}

// --- parts of the page that the server renews: every element with data-renewed and an id
const shownParts = new Map();

// Where the focus is in a part: what is focused there, by its words, so that the keyboard stays where it was.
const focusable = (part) => [...part.querySelectorAll("a[href], button, input, select, summary, [tabindex]")];
const sameThing = (one, other) => one.tagName === other.tagName && one.textContent === other.textContent && one.getAttribute("href") === other.getAttribute("href");

async function renew() {
  const parts = [...document.querySelectorAll("[data-renewed][id]")];
  if (!parts.length) return;
  const answer = await fetch(location.href, { headers: { Accept: "text/html" } });
  if (answer.redirected) { location.href = answer.url; return; }
  if (!answer.ok) return;
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  for (const part of parts) {
    const fresh = page.getElementById(part.id);
    if (!fresh || shownParts.get(part.id) === fresh.innerHTML) continue;
    shownParts.set(part.id, fresh.innerHTML);
    const focused = part.contains(document.activeElement) ? document.activeElement : null;
    const place = focused ? focusable(part).indexOf(focused) : -1;
    part.replaceChildren(...fresh.childNodes);
    prepareTables(part);
    localTimes(part);
    if (!focused) continue;
    const all = focusable(part);
    const again = (focused.id && document.getElementById(focused.id)) || all.find((each) => sameThing(each, focused)) || all[Math.min(place, all.length - 1)];
    (again || document.getElementById("content")).focus({ preventScroll: true });
  }
}

document.addEventListener("DOMContentLoaded", () => {
  prepareTables(document);
  localTimes(document);
  const renewed = document.querySelector("[data-renewed]");
  if (!renewed) return;
  let waiting = false;
  const soon = () => {
    if (waiting || document.hidden) return;
    waiting = true;
    setTimeout(async () => { waiting = false; await renew().catch(() => {}); }, 400);
  };
  listen("/v1/events/stream", "event", soon);
  setInterval(soon, 5000);
  document.addEventListener("visibilitychange", soon);
});

// --- submitting
document.addEventListener("submit", async (event) => {
  const form = event.target.closest("form[data-submit]");
  if (!form) return;
  event.preventDefault();
  const problems = document.getElementById("problems"), list = problems.querySelector("ul");
  list.replaceChildren();
  const values = new FormData(form);
  const workers = values.get("workers");
  try {
    const made = await ask("POST", "/v1/studies", {
      text: values.get("text"), file: "study.yaml", priority: Number(values.get("priority")),
      workers: workers ? Number(workers) : null,
    });
    location.href = `/studies/${encodeURIComponent(made.study)}`;
  } catch (error) {
    for (const line of error.message.split("\n")) {
      const item = document.createElement("li");
      item.textContent = line;
      list.append(item);
    }
    problems.focus();
  }
});
