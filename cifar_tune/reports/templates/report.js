"use strict";
for (const button of document.querySelectorAll("button[data-copy]")) {
  button.hidden = false;
  button.addEventListener("click", async () => {
    const source = document.getElementById(button.dataset.copy);
    try {
      await navigator.clipboard.writeText(source.textContent);
    } catch {
      // without the permission: select it and let the browser copy the selection
      getSelection().selectAllChildren(source);
      document.execCommand("copy");
    }
    const words = button.textContent;
    button.textContent = "Copied";
    setTimeout(() => { button.textContent = words; }, 1500);
  });
}

for (const words of document.querySelectorAll(".needs-script")) words.hidden = false;
for (const table of document.querySelectorAll("table.sortable")) {
  const heads = [...table.tHead.rows[0].cells], body = table.tBodies[0];
  const number = (text) => Number(text.replaceAll(",", ""));
  const value = (cell) => cell.dataset.v ?? (cell.title || cell.textContent);
  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "sort";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const before = head.getAttribute("aria-sort");
      const falls = before ? before === "ascending" : head.dataset.first === "descending";
      const rows = [...body.rows].map((row) => [row, value(row.cells[column])]);
      const are_numbers = rows.every(([, text]) => text === "-" || !Number.isNaN(number(text)));
      const compare = are_numbers ? (a, b) => number(a) - number(b) : (a, b) => a.localeCompare(b);
      // what has no value comes last either way
      rows.sort(([, a], [, b]) => (a === "-") - (b === "-") || (falls ? compare(b, a) : compare(a, b)));
      body.append(...rows.map(([row]) => row));
      for (const each of heads) each.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", falls ? "descending" : "ascending");
    });
  });
}
document.addEventListener("copy", (event) => {
  // cells that are rounded are copied with every digit
  const chosen = getSelection();
  if (chosen.rangeCount === 0) return;
  const range = chosen.getRangeAt(0), common = range.commonAncestorContainer;
  const around = (common.nodeType === Node.ELEMENT_NODE ? common : common.parentElement).closest("table.sortable, td");
  if (!around?.closest("table.sortable")) return;
  if (around.tagName === "TD") {
    if (!around.title || chosen.toString().trim() !== around.textContent.trim()) return;
    event.clipboardData.setData("text/plain", around.title);
  } else {
    const rows = [...range.cloneContents().querySelectorAll("tr")];
    const lines = rows.map((row) => [...row.cells].map((cell) => cell.title || cell.textContent.trim()).join("\t"));
    event.clipboardData.setData("text/plain", lines.join("\n"));
  }
  event.preventDefault();
});
