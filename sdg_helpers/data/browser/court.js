"use strict";
// The label court: one suspect label at a time, its answers, and the solutions as witnesses.
(() => {
  const CHOICES = {
    confirm: ["c", "Confirm", "this answer is right"],
    keep: ["k", "Keep", "the reference is right"],
    discard: ["d", "Discard", "no answer is right"],
  };
  const STAGES = { math: "relabeled", science: "voted" }; // the one that uses the decisions
  let docket = null, place = 0, problem = null, chosen = 0, run = null;

  const openCases = () => docket.cases.filter((position) => !docket.decided[position]).length;

  // Load the cases; show in the head how many are open.
  sdg.openCourt = async (about) => {
    run = about;
    if (sdg.source.inFolder) return;
    if (run.track === "code") { sdg.byId("to-court").hidden = false; return; }
    docket = await sdg.source.docket();
    if (!docket.cases.length) return;
    sdg.byId("to-court").hidden = false;
    place = Math.max(0, docket.cases.findIndex((position) => !docket.decided[position]));
    count();
  };

  const count = () => { sdg.byId("open-cases").textContent = sdg.number(openCases()); };

  // Go to a case and draw it.
  sdg.showCase = async (number = place) => {
    if (!docket) return sdg.byId("court").replaceChildren(noCourt());
    place = Math.min(Math.max(number, 0), docket.cases.length);
    if (place === docket.cases.length) return drawEnd();
    const wanted = place;
    const loaded = await sdg.source.problem(docket.cases[place]);
    if (wanted !== place) return;
    problem = loaded;
    chosen = Math.max(0, candidates().findIndex((one) => ["relabel", "voted"].includes(problem.decision) && one.correct));
    draw();
  };

  const noCourt = () => sdg.el("section", { class: "card" }, sdg.el("h2", {}, "Code has no labels to decide on"),
    sdg.el("p", {}, "Programs are judged by running the question's tests. Which answer most solutions gave plays no part, ",
      "and one right program proves the tests. To find wrong tests, set the pass rate to 0 in the table and read what ",
      "the programs that fail alike have in common; correct the tests in your source, and run the track in a new run."));

  // The answers that may replace the reference: those of the solutions, but not the reference itself.
  const candidates = () => problem.answers.filter((one) => !one.is_reference);

  const decide = async (choice) => {
    const seed = choice === "confirm" ? candidates()[chosen]?.seeds[0] : null;
    if ((choice === "confirm" && seed === undefined) || (choice === "keep" && !problem.reference)) return;
    try {
      const made = await sdg.source.decide({ position: problem.position, choice, seed });
      docket.decided[made.position] = made.choice;
      count();
      await sdg.showCase(place + 1);
    } catch (error) {
      sdg.notice(error.message);
    }
  };

  const draw = () => {
    const decided = docket.decided[problem.position];
    const rivals = candidates();
    sdg.byId("court").replaceChildren(
      progress(),
      sdg.el("section", { class: "card question" },
        sdg.el("header", {}, sdg.el("b", {}, `Problem ${sdg.number(problem.position + 1)}`), sdg.badge(problem.decision),
          sdg.el("span", { class: "soft" }, [problem.reason, `confidence ${sdg.percent(problem.confidence)}`].filter(Boolean).join(", ")),
          sdg.el("span", { class: "spacer" }),
          decided ? sdg.el("span", { class: "chip kept" }, `you decided: ${decided}`) : null),
        sdg.longText(problem.problem, (start) => sdg.source.text(problem.position, null, "problem", start)),
        sdg.options(problem)),
      sdg.el("div", { class: "sides" },
        problem.reference && side("Reference", problem.reference, problem.solutions.filter((one) => !inCandidates(one) && one.predicted), {}),
        rivals.map((one, number) => side(number === chosen ? "Chosen answer" : "Other answer", one.answer,
          problem.solutions.filter((solution) => one.seeds.includes(solution.seed)),
          { key: number + 1, pressed: number === chosen, choose: () => { chosen = number; draw(); } }))),
      buttons(rivals),
      sdg.el("h3", {}, "Witnesses"),
      ...witnesses(rivals),
      rivals.length ? "" : sdg.el("p", { class: "soft" }, "No solution gives another answer."));
    sdg.byId("court").scrollTop = 0;
  };

  const inCandidates = (solution) => candidates().some((one) => one.seeds.includes(solution.seed));

  const progress = () => {
    const meter = sdg.el("span", { class: "meter wide", "aria-hidden": "true" }, sdg.el("span"));
    const done = docket.cases.length - openCases();
    meter.firstChild.style.width = `${(100 * done) / docket.cases.length}%`;
    return sdg.el("div", { class: "court-progress" },
      sdg.el("span", {}, `Case ${sdg.number(place + 1)} of ${sdg.number(docket.cases.length)}`), meter,
      sdg.el("span", { class: "soft" }, `${sdg.number(done)} decided`));
  };

  const side = (title, answer, solutions, { key, pressed, choose }) => {
    const content = [
      sdg.el("span", { class: "soft" }, key ? sdg.el("kbd", {}, key) : null, key ? " " : null, title),
      sdg.el("span", { class: "side-answer" }, sdg.answer(answer)),
      sdg.el("span", { class: "soft" }, `${solutions.length} of ${sdg.plural(problem.solutions.length, "solution")}`),
    ];
    return choose ? sdg.el("button", { type: "button", class: "side", "aria-pressed": String(pressed), onclick: choose }, content)
      : sdg.el("div", { class: "side reference" }, content);
  };

  const buttons = (rivals) => sdg.el("div", { class: "verdicts" },
    Object.entries(CHOICES).filter(([choice]) => choice !== "keep" || problem.reference).map(([choice, [key, word, meaning]]) => sdg.el("button", {
      type: "button", class: choice, onclick: () => decide(choice),
      disabled: choice === "confirm" && !rivals.length,
    }, sdg.el("kbd", {}, key), " ", sdg.el("b", {}, word), sdg.el("span", {}, meaning))),
    sdg.el("button", { type: "button", onclick: () => sdg.showCase(place + 1) },
      sdg.el("kbd", {}, "s"), " ", sdg.el("b", {}, "Skip"), sdg.el("span", {}, "decide later")));

  // The solutions for the chosen answer first, then those for the reference, then the others.
  const witnesses = (rivals) => {
    const order = (solution) => rivals[chosen]?.seeds.includes(solution.seed) ? 0 : !inCandidates(solution) && solution.predicted ? 1 : 2;
    const shown = [...problem.solutions].sort((one, other) => order(one) - order(other) || one.seed - other.seed);
    return shown.map((solution) => sdg.solution(problem, solution,
      `Seed ${solution.seed}, ${["for the chosen answer", "for the reference", "for another answer"][order(solution)]}`));
  };

  const drawEnd = () => sdg.byId("court").replaceChildren(
    sdg.el("section", { class: "card" }, sdg.el("h2", {}, openCases() ? "The end of the list" : "All cases are decided"),
      sdg.el("p", {}, openCases() ? `${sdg.plural(openCases(), "case")} skipped. ` : "",
        "Your decisions are in the run's label_decisions.jsonl. To use them:"),
      sdg.el("pre", {}, `sdg reset ${run.run} ${STAGES[run.track]}\nsdg run ${run.track} --run ${run.run}`),
      openCases() ? sdg.el("button", { type: "button", onclick: () =>
        sdg.showCase(docket.cases.findIndex((position) => !docket.decided[position])) }, "Go to the first open one") : null));

  // Keys of the court; returns whether the key was one.
  sdg.courtKey = (key) => {
    if (!docket) return false;
    const atEnd = place === docket.cases.length;
    const choice = Object.keys(CHOICES).find((name) => CHOICES[name][0] === key);
    if (choice && !atEnd) decide(choice);
    else if (key === "s" || key === "ArrowDown") sdg.showCase(place + 1);
    else if (key === "ArrowUp") sdg.showCase(place - 1);
    else if (/^[1-9]$/.test(key) && !atEnd && Number(key) <= candidates().length) {
      chosen = Number(key) - 1;
      draw();
    } else return false;
    return true;
  };
})();
