"use strict";
// The table of problems: one page of it, sorted by a click on a head.
(() => {
  const shares = (name) => (row) => [sdg.percent(row[name])];
  const CELLS = {
    pass_rate: (row) => rateCell(row),
    confidence: shares("confidence"),
    decision: (row) => (row.decision ? [badge(row.decision)] : []),
    dropped: (row) => row.dropped.map((word) => sdg.el("span", { class: "chip" }, word)),
    cut: shares("cut"),
    kept: shares("kept"),
    tokens: (row) => [sdg.number(row.tokens)],
    source: (row) => [sdg.bdi(row.source)],
  };
  const SHOWN = Object.keys(CELLS);

  const badge = (word) => sdg.el("span", { class: `badge ${word}` }, word);
  sdg.badge = badge;

  const rateCell = (row) => {
    if (row.pass_rate === null) return row.solutions ? [sdg.el("span", { class: "soft" }, sdg.plural(row.solutions, "solution"))] : [];
    const meter = sdg.el("span", { class: "meter", "aria-hidden": "true" }, sdg.el("span"));
    meter.firstChild.style.width = `${row.pass_rate * 100}%`;
    return [meter, `${row.right}/${row.solutions}`];
  };

  // Draw a page. choose(position), sortBy(name), go(page): what clicks do.
  sdg.drawTable = (found, run, state, { choose, sortBy, go }) => {
    const sort = state.get("sort") || "";
    const columns = run.columns.filter((column) => SHOWN.includes(column.name) && isUseful(column, run));
    const head = sdg.el("tr", {}, sdg.el("th", { scope: "col" }, "Problem"), columns.map((column) => {
      const direction = sort === column.name ? "ascending" : sort === `-${column.name}` ? "descending" : "none";
      const arrow = { ascending: " ↑", descending: " ↓", none: "" }[direction];
      return sdg.el("th", { scope: "col", "aria-sort": direction, class: `column-${column.name}`, title: column.about },
        sdg.el("button", { type: "button", onclick: () => sortBy(column.name) }, column.title + arrow));
    }));
    const rows = found.rows.map((row) => {
      const title = sdg.el("div", { class: "start", dir: "auto" }, sdg.prose(row.start.slice(0, 400)));
      const cells = columns.map((column) =>
        sdg.el("td", { class: `column-${column.name}`, "data-title": column.title }, CELLS[column.name](row)));
      return sdg.el("tr", {
        "data-position": row.position, tabindex: "-1", "aria-selected": "false", onclick: () => choose(row.position),
      }, sdg.el("td", { class: "column-problem" }, title), cells);
    });
    const pages = Math.max(1, Math.ceil(found.total / run.page_rows));
    const page = Number(state.get("page") || 0);
    const turn = (label, target, name) => sdg.el("button", {
      type: "button", disabled: target < 0 || target >= pages, "aria-label": name, onclick: () => go(target),
    }, label);
    sdg.byId("list").replaceChildren(
      sdg.el("p", { class: "count", role: "status" },
        found.total === run.totals.problems ? sdg.plural(found.total, "problem")
          : `${sdg.number(found.total)} of ${sdg.plural(run.totals.problems, "problem")}`),
      found.total ? sdg.el("table", { role: "grid" }, sdg.el("thead", {}, head), sdg.el("tbody", {}, rows))
        : sdg.el("p", { class: "empty" }, "No problem passes these filters."),
      pages > 1 ? sdg.el("nav", { class: "pages", "aria-label": "Pages" }, turn("‹", page - 1, "previous page"),
        `page ${sdg.number(page + 1)} of ${sdg.number(pages)}`, turn("›", page + 1, "next page")) : "");
  };

  // A column is shown when the run has got that far.
  const isUseful = (column, run) => {
    const { totals } = run;
    const judged = totals.right + totals.wrong + totals.undecided > 0;
    const needs = {
      pass_rate: totals.solutions, confidence: run.choices.decision.length, decision: run.choices.decision.length,
      dropped: run.choices.dropped.length, cut: totals.cut, kept: !run.export && judged, tokens: totals.solutions,
      source: run.choices.source.length > 1,
    };
    return needs[column.name];
  };

  sdg.markChosen = (position) => {
    for (const row of document.querySelectorAll("#list tr[data-position]")) {
      const chosen = Number(row.dataset.position) === position;
      row.setAttribute("aria-selected", String(chosen));
      if (chosen) row.scrollIntoView({ block: "nearest" });
    }
  };
})();
