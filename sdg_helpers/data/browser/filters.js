"use strict";
// The filters beside the table. Their state is the page's address after the #, so that it can be kept and sent.
(() => {
  const LABELS = ["never", "to 20 %", "to 40 %", "to 60 %", "to 80 %", "below all", "always"];

  // Return the rows that pass the filters, in their order: what the server does, for a page on disk.
  sdg.select = (rows, parameters, columns) => {
    const kinds = Object.fromEntries(columns.map((column) => [column.name, column.kind]));
    const tests = [...new Set(parameters.keys())].flatMap((name) => {
      const given = parameters.getAll(name);
      const [column, bound] = name.split(".");
      if (name === "text") {
        const sought = given[0].toLowerCase();
        return [(row) => [row.start, row.id, row.reference, row.source].join("\n").toLowerCase().includes(sought)];
      }
      if (bound === "min") return [(row) => row[column] !== null && row[column] >= Number(given[0])];
      if (bound === "max") return [(row) => row[column] !== null && row[column] <= Number(given[0])];
      if (kinds[column] === "flags") return [(row) => given.some((word) => row[column].includes(word))];
      return kinds[column] ? [(row) => given.includes(row[column])] : [];
    });
    const chosen = rows.filter((row) => tests.every((test) => test(row)));
    const sort = parameters.get("sort");
    return sort ? chosen.sort(comparing(sort.replace(/^-/, ""), sort.startsWith("-") ? -1 : 1)) : chosen;
  };

  const comparing = (name, direction) => (one, other) => {
    const [a, b] = [one[name], other[name]].map((value) => (Array.isArray(value) ? value.length : value));
    if (a === b) return one.position - other.position;
    if (a === null || b === null) return a === null ? 1 : -1;
    return (a < b ? -1 : 1) * direction;
  };

  // Draw the filters of a run. change(name, values): called with the new values of a parameter.
  sdg.drawFilters = (run, state, change) => {
    const search = sdg.el("input", {
      type: "search", id: "search", placeholder: "Search (/)", value: state.get("text") || "",
      "aria-label": "Search problems, ids and references", autocomplete: "off", spellcheck: "false",
    });
    let timer = 0;
    search.addEventListener("input", () => {
      clearTimeout(timer);
      timer = setTimeout(() => change({ text: search.value ? [search.value] : [] }), 250);
    });
    const active = [...state.keys()].filter((name) => !["sort", "page", "position", "view"].includes(name));
    sdg.byId("filters").replaceChildren(
      search,
      sdg.el("details", { open: !matchMedia("(max-width: 60rem)").matches || active.some((name) => name !== "text") },
        sdg.el("summary", {}, "Filters"),
        run.totals.right + run.totals.wrong ? histogram(run, state, change) : null,
        run.columns.map((column) => field(column, run, state, change)),
        sdg.el("button", {
          type: "button", id: "clear", disabled: !active.length,
          onclick: () => change(Object.fromEntries(active.map((name) => [name, []])), true),
        }, "Clear filters")));
  };

  // How many problems are never, sometimes and always solved; a bar filters.
  const histogram = (run, state, change) => {
    const most = Math.max(1, ...run.solved.map((bar) => bar.problems));
    const chosen = [state.get("pass_rate.min"), state.get("pass_rate.max")];
    const bars = run.solved.map((bar, number) => {
      const pressed = chosen[0] === String(bar.min) && chosen[1] === String(bar.max);
      const height = bar.problems ? Math.max(3, (44 * bar.problems) / most) : 1;
      const fill = sdg.el("span", { class: "bar" });
      fill.style.height = `${height}px`;
      return sdg.el("button", {
        type: "button", "aria-pressed": String(pressed), title: `${LABELS[number]}: ${sdg.plural(bar.problems, "problem")}`,
        "aria-label": `solved ${LABELS[number]}: ${sdg.plural(bar.problems, "problem")}`,
        onclick: () => change(pressed ? { "pass_rate.min": [], "pass_rate.max": [] }
          : { "pass_rate.min": [String(bar.min)], "pass_rate.max": [String(bar.max)] }, true),
      }, fill);
    });
    return sdg.el("figure", { class: "histogram" },
      sdg.el("div", { class: "bars" }, bars),
      sdg.el("figcaption", {}, sdg.el("span", {}, "never solved"), sdg.el("span", {}, "always")));
  };

  const field = (column, run, state, change) => {
    if (column.kind === "number" || column.kind === "share") return range(column, state, change);
    const choices = run.choices[column.name] || [];
    if (choices.length < 2 && column.kind === "choice" && !state.has(column.name)) return null;
    if (!choices.length) return null;
    const select = sdg.el("select", { name: column.name },
      sdg.el("option", { value: "" }, "any"),
      choices.map(([word, count]) => sdg.el("option", { value: word },
        sdg.visible(word.length > 60 ? `${word.slice(0, 60)}…` : word).map((node) => node.textContent ?? node).join(""),
        ` (${sdg.number(count)})`)));
    select.value = state.get(column.name) || "";
    select.addEventListener("change", () => change({ [column.name]: select.value ? [select.value] : [] }));
    return sdg.el("label", { title: column.about }, sdg.el("span", {}, column.title), select);
  };

  const range = (column, state, change) => {
    const scale = column.kind === "share" ? 100 : 1;
    const input = (bound) => {
      const given = state.get(`${column.name}.${bound}`);
      const element = sdg.el("input", {
        type: "number", min: 0, max: scale === 100 ? 100 : null, step: "any", name: `${column.name}.${bound}`,
        placeholder: bound, "aria-label": `${column.title}, ${bound === "min" ? "least" : "most"}`,
        value: given === null ? "" : String(Math.round(given * scale * 10) / 10),
      });
      element.addEventListener("change", () => {
        change({ [`${column.name}.${bound}`]: element.value === "" ? [] : [String(Number(element.value) / scale)] });
      });
      return element;
    };
    return sdg.el("label", { title: column.about },
      sdg.el("span", {}, column.title, scale === 100 ? sdg.el("small", {}, " %") : null),
      sdg.el("span", { class: "range" }, input("min"), "–", input("max")));
  };
})();
