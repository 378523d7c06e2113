"use strict";
// One picture: choosing a filter in the list shows where it sits. Without scripts the first one is shown, and every card has its own.
(() => {
  for (const section of document.querySelectorAll(".picture-page")) {
    const buttons = [...section.querySelectorAll("button[data-filter]")];
    const groups = [...section.querySelectorAll(".frame g[data-filter]")];
    const caption = section.querySelector("figcaption");

    /** Show one filter; hovering shows it for as long as it lasts. */
    function show(button) {
      for (const group of groups) group.classList.toggle("on", group.dataset.filter === button.dataset.filter);
      const name = button.querySelector("strong").textContent;
      caption.textContent = `Filter ${button.dataset.filter}, ${name}`;
    }
    const chosen = () => buttons.find((button) => button.getAttribute("aria-pressed") === "true");
    for (const button of buttons) {
      button.addEventListener("click", () => {
        for (const each of buttons) each.setAttribute("aria-pressed", String(each === button));
        show(button);
      });
      for (const event of ["mouseenter", "focus"]) button.addEventListener(event, () => show(button));
      for (const event of ["mouseleave", "blur"]) button.addEventListener(event, () => show(chosen()));
    }
  }
  document.documentElement.dataset.ready = "";
})();
