"use strict";
// The page: its state is the address after the #; what the user does changes it, and it is drawn again.
(() => {
  let run = null, found = null, asked = 0;

  const state = () => new URLSearchParams(location.hash.slice(1));

  // Set parameters of the address, each to a list of values. redraw: the filters too.
  const change = (values, redrawFilters = false) => {
    const next = state();
    for (const [name, given] of Object.entries(values)) {
      next.delete(name);
      for (const value of given) next.append(name, value);
    }
    if (!("page" in values) && !("position" in values)) next.delete("page");
    history.replaceState(null, "", `#${next}`);
    if ("position" in values && Object.keys(values).length === 1) return showProblem();
    if (redrawFilters) sdg.drawFilters(run, state(), change);
    return showTable();
  };

  sdg.notice = (text) => {
    sdg.byId("notice").textContent = text;
    sdg.byId("notice").hidden = !text;
  };

  const guarded = (action) => async (...given) => {
    try {
      sdg.notice("");
      await action(...given);
    } catch (error) {
      sdg.notice(error instanceof TypeError ? "The server does not answer: is `sdg browse` still running?" : error.message);
    }
  };

  const showTable = guarded(async () => {
    const number = ++asked;
    const parameters = state();
    parameters.delete("position");
    parameters.delete("view");
    const answer = await sdg.source.table(parameters);
    if (number !== asked) return; // a later question was asked meanwhile
    found = answer;
    sdg.drawTable(found, run, state(), { choose, sortBy, go });
    const clear = sdg.byId("clear");
    if (clear) clear.disabled = ![...parameters.keys()].some((name) => name !== "sort" && name !== "page");
    sdg.markChosen(position());
  });

  const position = () => (state().has("position") ? Number(state().get("position")) : null);
  const choose = (chosen) => change({ position: chosen === null ? [] : [String(chosen)] });
  const go = (page) => change({ page: page ? [String(page)] : [] });
  const sortBy = (name) => {
    const now = state().get("sort");
    change({ sort: now === name ? [`-${name}`] : now === `-${name}` ? [] : [name] });
  };

  const showProblem = guarded(async () => {
    const wanted = position();
    sdg.byId("browse").classList.toggle("with-detail", wanted !== null);
    sdg.byId("detail").hidden = wanted === null;
    sdg.markChosen(wanted);
    if (wanted === null) return;
    const problem = await sdg.source.problem(wanted);
    if (!problem) throw new Error(`Problem ${wanted + 1} is not here.`);
    if (wanted === position()) sdg.drawProblem(problem, run, { step, close: () => choose(null) });
  });

  // Go to a neighbour in the table, on the next page if need be.
  const step = async (by) => {
    const rows = found?.rows || [];
    const next = rows.findIndex((row) => row.position === position()) + by;
    if (next >= 0 && next < rows.length) return choose(rows[next].position);
    const page = Number(state().get("page") || 0) + by;
    if (page < 0 || page * run.page_rows >= found.total || position() === null) return;
    await go(page);
    choose(found.rows[by > 0 ? 0 : found.rows.length - 1].position);
  };

  const turn = (by) => {
    const page = Number(state().get("page") || 0) + by;
    if (page >= 0 && page * run.page_rows < found.total) go(page);
  };

  const showView = guarded(async (name) => {
    const inCourt = name === "court";
    const next = state();
    if (inCourt) next.set("view", "court");
    else next.delete("view");
    history.replaceState(null, "", `#${next}`);
    sdg.byId("browse").hidden = inCourt;
    sdg.byId("court").hidden = !inCourt;
    sdg.byId("to-table").setAttribute("aria-pressed", String(!inCourt));
    sdg.byId("to-court").setAttribute("aria-pressed", String(inCourt));
    if (inCourt) await sdg.showCase();
  });

  const KEYS = {
    ArrowDown: () => step(1), j: () => step(1), ArrowUp: () => step(-1), k: () => step(-1),
    ArrowLeft: () => turn(-1), ArrowRight: () => turn(1), Escape: () => choose(null),
    "/": () => sdg.byId("search").focus(),
  };

  const onKey = (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || sdg.byId("help").open) return;
    if (/^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName)) {
      if (event.key === "Escape") event.target.blur();
      return;
    }
    const done = () => event.preventDefault();
    if (event.key === "t") sdg.toggleThinking();
    else if (event.key === "r") sdg.toggleRaw();
    else if (event.key === "?") sdg.byId("help").showModal();
    else if (!sdg.byId("court").hidden) sdg.courtKey(event.key) && done();
    else if (KEYS[event.key]) done(KEYS[event.key]());
  };

  const drawHead = () => {
    document.title = `${run.run} · sdg browse`;
    sdg.byId("run-name").textContent = run.run;
    sdg.byId("track").textContent = run.track;
    const { totals } = run;
    const shown = [
      ["problems", totals.problems], ["solutions", totals.solutions], ["right", totals.right], ["cut", totals.cut],
      ["new labels", totals.relabeled], ["exported", totals.kept],
    ].filter(([, count]) => count);
    sdg.byId("totals").replaceChildren(...shown.map(([name, count]) =>
      sdg.el("div", {}, sdg.el("dd", {}, sdg.number(count)), sdg.el("dt", {}, name))));
    const notes = [
      run.unreadable ? `${sdg.plural(run.unreadable, "row")} of the solutions cannot be read or belong to no problem.` : "",
      run.export && run.export !== "not exported yet" ? run.export : "",
      sdg.source.inFolder && run.rows.length < totals.problems
        ? `This folder holds the first ${sdg.number(run.rows.length)} problems; the figures above are of the whole run.` : "",
    ].filter(Boolean);
    sdg.byId("notes").textContent = notes.join(" ");
    sdg.byId("notes").hidden = !notes.length;
  };

  const start = async () => {
    run = await sdg.source.run();
    await sdg.openCourt(run);
    sdg.drawFilters(run, state(), change);
    await Promise.all([showTable(), showProblem()]);
    if (state().get("view") === "court" && !sdg.byId("to-court").hidden) await showView("court");
    drawHead();
    document.body.dataset.ready = "true";
  };

  sdg.byId("to-table").addEventListener("click", () => showView("table"));
  sdg.byId("to-court").addEventListener("click", () => showView("court"));
  sdg.byId("to-help").addEventListener("click", () => sdg.byId("help").showModal());
  sdg.byId("close-help").addEventListener("click", () => sdg.byId("help").close());
  document.addEventListener("keydown", onKey);
  addEventListener("hashchange", () => { sdg.drawFilters(run, state(), change); showTable(); showProblem(); });
  guarded(start)();
})();
