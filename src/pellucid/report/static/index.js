"use strict";
// Sorts the table of pictures by a column: a click on its head, a second one the other way round; unknown values stay last.
(() => {
  const table = document.getElementById("listing");
  for (const button of table.querySelectorAll("[data-sort]")) {
    button.addEventListener("click", () => {
      const head = button.closest("th");
      const column = [...head.parentElement.children].indexOf(head);
      const down = head.getAttribute("aria-sort") !== "descending";
      for (const other of head.parentElement.children) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      const valueOf = (row) => row.children[column].dataset.value;
      const order = (a, b) => {
        const [one, two] = [valueOf(a), valueOf(b)];
        if (one === "" || two === "") return (one === "") - (two === "");
        const way = button.dataset.sort === "number" ? Number(one) - Number(two) : one.localeCompare(two);
        return down ? -way : way;
      };
      table.tBodies[0].append(...[...table.tBodies[0].rows].sort(order));
    });
  }
  document.documentElement.dataset.ready = "true";
})();
