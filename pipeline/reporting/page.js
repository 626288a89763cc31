for (const table of document.querySelectorAll("table.sortable")) {
  const heads = [...table.tHead.rows[0].cells];
  const sort = (head, column) => {
    const text = head.dataset.sort === "text";
    const up = head.hasAttribute("aria-sort") ? head.getAttribute("aria-sort") === "descending" : text;
    const value = row => { const cell = row.cells[column]; return text ? cell.textContent : parseFloat(cell.dataset.value ?? cell.textContent); };
    const rows = [...table.tBodies[0].rows].sort((a, b) => (text ? value(a).localeCompare(value(b)) : value(a) - value(b)) * (up ? 1 : -1));
    heads.forEach(other => other.removeAttribute("aria-sort"));
    head.setAttribute("aria-sort", up ? "ascending" : "descending");
    table.tBodies[0].append(...rows);
  };
  heads.forEach((head, column) => {
    head.tabIndex = 0;
    head.addEventListener("click", () => sort(head, column));
    head.addEventListener("keydown", event => { if (event.key === "Enter" || event.key === " ") { event.preventDefault(); sort(head, column); } });
  });
}
