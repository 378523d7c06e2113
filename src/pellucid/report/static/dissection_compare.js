"use strict";
// The table of concepts of a comparison: sorted by any column, searched, and reduced to what the sides do not share.
(() => {
  const table = document.getElementById("concepts");
  const body = table.tBodies[0];
  const rows = [...body.rows];
  const heads = [...table.tHead.rows[0].cells];
  const [query, differ, count] = ["query", "differ", "count"].map((id) => document.getElementById(id));

  const valueOf = (row, column) => row.cells[column].dataset.value;

  /** Text from a to z first, numbers from high to low; a second click turns the order round. */
  function sort(column) {
    const head = heads[column];
    const text = column < 2;
    const first = text ? "ascending" : "descending";
    const order = head.getAttribute("aria-sort") !== first ? first : text ? "descending" : "ascending";
    heads.forEach((other) => other.setAttribute("aria-sort", other === head ? order : "none"));
    const turn = order === "ascending" ? 1 : -1;
    rows.sort((a, b) => {
      const [one, other] = [valueOf(a, column), valueOf(b, column)];
      return turn * (text ? one.localeCompare(other, "en") : one - other) || valueOf(a, 0).localeCompare(valueOf(b, 0), "en");
    });
    body.append(...rows);
  }

  function filter() {
    const words = query.value.trim().toLowerCase();
    let shown = 0;
    for (const row of rows) {
      const named = [0, 1].some((column) => valueOf(row, column).toLowerCase().includes(words));
      row.hidden = !named || (differ.checked && row.dataset.all === "yes");
      shown += !row.hidden;
    }
    count.textContent = `${shown === rows.length ? "" : `${shown} of `}${rows.length} concept${rows.length === 1 ? "" : "s"}`;
  }

  heads.forEach((head, column) => head.firstElementChild.addEventListener("click", () => sort(column)));
  document.getElementById("finder").addEventListener("submit", (event) => event.preventDefault());
  query.addEventListener("input", filter);
  differ.addEventListener("input", filter);
  filter();
  document.documentElement.dataset.ready = "true";
})();
