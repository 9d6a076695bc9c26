"use strict";
// One study, live: curves that grow, tables of trials, importances, and the log.

const SVG = "http://www.w3.org/2000/svg";
const WIDTH = 640, HEIGHT = 300, LEFT = 60, RIGHT = 10, TOP = 30, BOTTOM = 26;

function svg(name, attributes, text) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text !== undefined) made.textContent = text;
  return made;
}

// As the commands and the best configuration show a value (%.4g): 0.000603, and below a ten-thousandth 5.083e-05.
const short = (value) => value !== 0 && Math.abs(value) < 1e-4 ? Number(value.toPrecision(4)).toExponential().replace(/-(\d)$/, "-0$1") : String(Number(value.toPrecision(4)));
const shown = (value) => value === null || value === undefined ? "" : Math.abs(value) >= 1000 ? value.toLocaleString() : Number(value).toPrecision(4);
const knobs = (params) => Object.entries(params).map(([name, value]) => `${name} ${typeof value === "number" && !Number.isInteger(value) ? short(value) : value}`).join(", ");

// Round values between two others, three to seven.
function ticks(low, high) {
  const rough = (high - low) / 3, power = 10 ** Math.floor(Math.log10(rough));
  const step = [5, 2, 1].map((factor) => factor * power).find((each) => each <= rough * (1 + 1e-9));
  const found = [];
  for (let count = Math.ceil(low / step); count * step <= high; count++) found.push(Number((count * step).toPrecision(12)));
  return found;
}

// Trials that have begun and not ended run, or are parked after an epoch.
const runs = (trial) => trial.state === "RUNNING";

function draw(place, running, ended, best) {
  const others = ended.filter((trial) => trial.number !== best?.number);
  const all = [...running, ...others, ...(best ? [best] : [])].map((trial) => trial.intermediate.filter(([, value]) => value !== null)).filter((points) => points.length);
  place.replaceChildren();
  if (!all.length) {
    place.append(svg("text", { x: WIDTH / 2, y: HEIGHT / 2, "text-anchor": "middle" }, "No trial has finished an epoch yet."));
    return;
  }
  const points = all.flat();
  const epochs = Math.max(2, ...running.map((trial) => trial.budget_epochs || 0), ...points.map(([epoch]) => epoch));
  let low = Math.min(...points.map(([, value]) => value)), high = Math.max(...points.map(([, value]) => value));
  if (low === high) { low -= 0.5 * Math.abs(low || 1); high += 0.5 * Math.abs(high || 1); }
  const x = (epoch) => LEFT + (epoch - 1) / (epochs - 1) * (WIDTH - LEFT - RIGHT);
  const y = (value) => HEIGHT - BOTTOM - (value - low) / (high - low) * (HEIGHT - TOP - BOTTOM);
  for (const value of ticks(low, high)) {
    place.append(svg("line", { class: "grid", x1: LEFT, x2: WIDTH - RIGHT, y1: y(value), y2: y(value) }));
    place.append(svg("text", { x: LEFT - 6, y: y(value) + 4, "text-anchor": "end" }, value.toLocaleString("en", { maximumSignificantDigits: 6 })));
  }
  for (const epoch of new Set([1, Math.ceil(epochs / 2), epochs])) {
    place.append(svg("text", { x: x(epoch), y: HEIGHT - 8, "text-anchor": epoch === 1 ? "start" : epoch === epochs ? "end" : "middle" }, `epoch ${epoch}`));
  }
  const line = (trial, attributes) => {
    const known = trial.intermediate.filter(([, value]) => value !== null);
    if (!known.length) return;
    const path = known.map(([epoch, value], index) => `${index ? "L" : "M"}${x(epoch).toFixed(1)} ${y(value).toFixed(1)}`).join("");
    const isPoint = known.length === 1;
    const drawn = svg("path", { d: isPoint ? `${path}h.1` : path, "stroke-linecap": "round", ...attributes });
    if (isPoint) drawn.classList.add("point");
    drawn.append(svg("title", {}, `trial ${trial.number}`));
    place.append(drawn);
    return known.at(-1);
  };
  const mark = ([epoch, value], colour, words) => {
    const isNearEnd = x(epoch) > WIDTH - 90;
    place.append(svg("circle", { cx: x(epoch), cy: y(value), r: 3.5, fill: colour }));
    place.append(svg("text", { x: isNearEnd ? WIDTH - RIGHT : x(epoch) + 6, y: y(value) - 7, "text-anchor": isNearEnd ? "end" : "start" }, words));
  };
  for (const trial of others) line(trial, { class: "curve ended" });
  const end = best && line(best, { class: "curve best" });
  for (const trial of running) {
    const colour = `var(--c${trial.number % 6})`, isRunning = runs(trial);
    const last = line(trial, { class: isRunning ? "curve" : "curve parked", stroke: colour });
    if (last && isRunning) mark(last, colour, trial.number);
  }
  if (end) mark(end, "var(--ink)", `best: ${best.number}`);
}

function fill(id, rows, empty) {
  const body = document.querySelector(`#${id} tbody`);
  body.replaceChildren(...rows.map((cells) => {
    const row = document.createElement("tr");
    cells.forEach((text, index) => {
      const cell = document.createElement("td");
      cell.textContent = text;
      if (index === 2) cell.className = "number";
      row.append(cell);
    });
    return row;
  }));
  if (!rows.length) {
    const row = document.createElement("tr"), cell = document.createElement("td");
    cell.colSpan = 5; cell.className = "quiet"; cell.textContent = empty;
    row.append(cell); body.append(row);
  }
}

function showImportances(told) {
  const place = document.getElementById("importances");
  place.replaceChildren(...Object.entries(told.shares).flatMap(([name, share]) => {
    const label = document.createElement("span"), meter = document.createElement("meter"), figure = document.createElement("span");
    label.textContent = name; label.id = `knob-${name}`;
    meter.value = share; meter.setAttribute("aria-labelledby", label.id);
    figure.textContent = share > 0 && share < 0.005 ? "< 1 %" : `${(share * 100).toFixed(0)} %`;
    return [label, meter, figure];
  }));
  document.getElementById("basis").textContent = told.why_none || told.basis || "";
}

// A study without trials has nothing to draw yet: the page is made anew once its first run has begun.
function waitForTrials(log) {
  if (!log) return;
  const path = log.dataset.path.replace(/\/log$/, "");
  setInterval(async () => {
    if (document.hidden || document.querySelector("dialog[open]")) return;
    const told = await ask("GET", path).catch(() => null);
    if (told && told.status) location.reload();
  }, 3000);
}

document.addEventListener("DOMContentLoaded", () => {
  const live = document.getElementById("live");
  const log = document.getElementById("log");
  let position = 0;
  const readLog = async () => {
    const atEnd = log.scrollTop + log.clientHeight >= log.scrollHeight - 4;
    for (;;) {
      const part = await ask("GET", `${log.dataset.path}?offset=${position}`);
      position = part.next;
      if (!part.text) break;
      log.append(part.text);
      if (log.textContent.length > 200000) log.textContent = log.textContent.slice(-150000);
    }
    if (!log.textContent) log.dataset.empty = "";
    if (atEnd) log.scrollTop = log.scrollHeight;
  };
  if (log) { readLog().catch(() => {}); setInterval(() => { if (!document.hidden) readLog().catch(() => {}); }, 3000); }
  if (!live) { waitForTrials(log); return; }
  const path = `/v1/studies/${encodeURIComponent(live.dataset.study)}`;
  let finished = -1, best = null;
  // The best trial may have ended long before those that the stream tells of.
  const bestOf = async (told) => {
    const number = told.status.best?.number ?? null;
    if (number === null) return null;
    const found = told.ended.find((trial) => trial.number === number) ?? (best?.number === number ? best : null);
    return found ?? (await ask("GET", `${path}/trials?first=${number}&limit=1`)).trials.find((trial) => trial.number === number) ?? null;
  };
  const askImportances = async () => {
    const told = await ask("GET", `${path}/importances`);
    showImportances(told);
    if (!Object.keys(told.shares).length && finished > 1000) setTimeout(() => askImportances().catch(() => {}), 5000);  // they are being computed
  };
  listen(`${path}/stream`, "study", (event) => {
    const told = JSON.parse(event.data), curves = document.getElementById("curves");
    const known = told.status.best && best?.number === told.status.best.number ? best : null;
    draw(curves, told.running, told.ended, known);
    bestOf(told).then((found) => {
      best = found;
      if (found !== known && live.dataset.drawn === event.lastEventId) draw(curves, told.running, told.ended, found);
    }).catch(() => {});
    fill("running", told.running.filter(runs).map((trial) => [trial.number, `${trial.epochs} of ${trial.budget_epochs ?? "?"}`, shown(trial.intermediate.at(-1)?.[1]), trial.device ?? "", knobs(trial.params)]), "No trial runs.");
    const parked = told.running.filter((trial) => !runs(trial)).map((trial) => trial.number);
    document.getElementById("parked").textContent = parked.length ? `Parked after an epoch, to go on later: ${parked.join(", ")}.` : "";
    fill("ended", told.ended.toReversed().map((trial) => [trial.number, (trial.reason || trial.state.toLowerCase()).replaceAll("_", " "), shown(trial.value), knobs(trial.params)]), "None yet.");
    live.dataset.drawn = event.lastEventId;
    const now = told.status.counts.COMPLETE ?? 0;
    if (now !== finished) {
      finished = now;
      askImportances().catch(() => {});
    }
  });
});
