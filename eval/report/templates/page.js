"use strict";
// Sorts and filters the table of slides and the cards below it, marks tables that scroll, enlarges pictures, and copies
// the command and the citation.
(() => {
  const table = document.getElementById("slide-table");
  const rows = table ? [...table.tBodies[0].rows] : [];
  const cards = new Map([...document.querySelectorAll(".card")].map((card) => [card.dataset.slide, card]));
  const control = (name) => document.getElementById("filter-" + name);

  const key = (row, column) => {
    const cell = row.cells[column], data = cell.querySelector("data");
    return data ? Number(data.value) : cell.textContent.trim();
  };
  const missing = (value) => value === "" || value === "–";
  const compare = (a, b) =>
    typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b), "en", { numeric: true });

  const arrange = (sorted) => {
    for (const row of sorted) {
      table.tBodies[0].append(row);
      const card = cards.get(row.dataset.slide);
      if (card) card.parentNode.append(card);
    }
  };

  const sort = (head) => {
    const column = head.cellIndex;
    const first = head.dataset.first || "ascending";
    const other = first === "ascending" ? "descending" : "ascending";
    const order = head.getAttribute("aria-sort") === first ? other : first;
    for (const one of head.parentNode.cells) one.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", order);
    const sign = order === "ascending" ? 1 : -1;
    arrange([...rows].sort((a, b) => {
      const one = key(a, column), two = key(b, column);
      if (missing(one) || missing(two)) return missing(one) - missing(two);  // unknown is last either way
      return sign * compare(one, two);
    }));
  };

  const filter = () => {
    const words = control("text").value.trim().toLowerCase();
    const chosen = ["truth", "status", "mistakes"].map((name) => [name, control(name).value]);
    let shown = 0;
    for (const row of rows) {
      const fits = row.dataset.text.toLowerCase().includes(words)
        && chosen.every(([name, value]) => value === "" || row.dataset[name] === value);
      row.hidden = !fits;
      const card = cards.get(row.dataset.slide);
      if (card) card.hidden = !fits;
      shown += fits;
    }
    document.getElementById("shown").textContent = `${shown} of ${rows.length} ${rows.length === 1 ? "slide" : "slides"} shown`;
  };

  if (table) {
    for (const button of table.querySelectorAll("th button")) button.addEventListener("click", () => sort(button.closest("th")));
    for (const name of ["text", "truth", "status", "mistakes"]) control(name).addEventListener("input", filter);
    control("reset").addEventListener("click", () => {
      for (const name of ["text", "truth", "status", "mistakes"]) control(name).value = "";
      filter();
    });
  }

  // A table that is wider than its box says so, and fades at the side where more is.
  const boxes = [...document.querySelectorAll(".wide")];
  const mark = (box) => {
    const over = box.scrollWidth - box.clientWidth;
    box.classList.toggle("scrolls", over > 1);
    box.classList.toggle("more", over - box.scrollLeft > 1);
  };
  for (const box of boxes) box.addEventListener("scroll", () => mark(box), { passive: true });
  addEventListener("resize", () => boxes.forEach(mark));
  boxes.forEach(mark);

  const copy = async (text) => {
    try {
      await navigator.clipboard.writeText(text);
    } catch {  // a page opened from a file may lack the permission
      const area = document.createElement("textarea");
      area.value = text;
      document.body.append(area);
      area.select();
      document.execCommand("copy");
      area.remove();
    }
  };
  for (const button of document.querySelectorAll("button.copy")) {
    const said = button.textContent;
    button.addEventListener("click", async () => {
      await copy(document.getElementById(button.dataset.of).textContent);
      button.textContent = "Copied";
      setTimeout(() => { button.textContent = said; }, 2000);
    });
  }

  const large = document.getElementById("large");
  for (const button of document.querySelectorAll(".zoom")) button.addEventListener("click", () => {
    const small = button.querySelector("img"), image = large.querySelector("img");
    image.src = small.src;
    image.alt = small.alt;
    image.style.setProperty("--ratio", small.width / small.height);
    large.showModal();
  });
  if (large) large.addEventListener("click", (event) => { if (event.target === large) large.close(); });

  addEventListener("beforeprint", () => {
    for (const image of document.querySelectorAll("img[loading=lazy]")) image.loading = "eager";
  });
})();
