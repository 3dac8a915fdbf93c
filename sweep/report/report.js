"use strict";
// Clicking a column's button sorts its table: numbers by value, empty cells last.
for (const button of document.querySelectorAll("thead button")) {
  button.addEventListener("click", () => {
    const head = button.parentElement, table = head.closest("table"), body = table.tBodies[0];
    const up = head.getAttribute("aria-sort") !== "ascending", column = head.cellIndex;
    for (const other of head.parentElement.cells) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", up ? "ascending" : "descending");
    const key = (row) => row.cells[column].dataset.value ?? row.cells[column].textContent;
    const rows = [...body.rows].map((row) => [key(row), row]);
    const numeric = rows.every(([value]) => value === "" || !Number.isNaN(Number(value)));
    rows.sort(([a], [b]) => {
      if (a === "" || b === "") return (a === "") - (b === "");
      const order = numeric ? a - b : a.localeCompare(b, undefined, { numeric: true });
      return up ? order : -order;
    });
    body.append(...rows.map(([, row]) => row));
  });
}
// The reader's system chooses light or dark until the button is pressed.
const root = document.documentElement, toggle = document.querySelector("button.theme");
const dark = () => (root.dataset.theme ?? (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light")) === "dark";
const label = () => { toggle.textContent = dark() ? "Light theme" : "Dark theme"; };
try { const kept = localStorage.getItem("ssl-sweep-theme"); if (kept) root.dataset.theme = kept; } catch { /* some browsers give a file no storage */ }
toggle.hidden = false;
label();
toggle.addEventListener("click", () => {
  root.dataset.theme = dark() ? "light" : "dark";
  label();
  try { localStorage.setItem("ssl-sweep-theme", root.dataset.theme); } catch { /* as above */ }
});
