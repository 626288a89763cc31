for (const table of document.querySelectorAll("table.sortable")) {
  const heads = [...table.tHead.rows[0].cells];
  const sort = (head, column) => {
    const text = head.dataset.sort === "text";
    const sorted = head.getAttribute("aria-sort");
    const up = sorted === "none" ? text : sorted === "descending";
    const value = row => { const cell = row.cells[column]; return text ? cell.textContent : parseFloat(cell.dataset.value ?? cell.textContent); };
    const rows = [...table.tBodies[0].rows].sort((a, b) => (text ? value(a).localeCompare(value(b)) : value(a) - value(b)) * (up ? 1 : -1));
    heads.forEach(other => other.setAttribute("aria-sort", "none"));
    head.setAttribute("aria-sort", up ? "ascending" : "descending");
    table.tBodies[0].append(...rows);
  };
  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    head.setAttribute("aria-sort", "none");
    button.addEventListener("click", () => sort(head, column));
  });
}
for (const link of document.querySelectorAll(".cells a")) {
  link.addEventListener("click", () => {
    const cell = document.getElementById(link.hash.slice(1));
    for (let part = cell.closest("details"); part; part = part.parentElement.closest("details")) part.open = true;
    cell.focus({ preventScroll: true });
  });
}
