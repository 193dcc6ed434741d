"use strict";
// One problem: what was asked, what was answered, and every solution with its verdict and why.
(() => {
  const WORDS = { true: "right", false: "wrong", null: "undecided" };

  const facts = (pairs) => sdg.el("dl", { class: "facts" },
    pairs.filter(([, value]) => value !== null && value !== undefined && value !== "")
      .map(([name, value]) => sdg.el("div", {}, sdg.el("dt", {}, name), sdg.el("dd", {}, value))));

  const piece = (problem, seed, part) =>
    sdg.source.inFolder ? null : (start) => sdg.source.text(problem.position, seed, part, start);

  // Return the elements of a problem.
  sdg.problem = (problem, run) => [
    sdg.el("section", { class: "card question" },
      sdg.longText(problem.problem, piece(problem, null, "problem")), sdg.options(problem), labelFacts(problem)),
    sdg.answers(problem),
    problem.failures.length ? failures(problem) : null,
    ...problem.solutions.map((solution) => sdg.solution(problem, solution)),
    problem.replies.length ? replies(problem) : null,
    request(problem, run),
    more(problem),
  ].filter(Boolean);

  // The options of a question as a list; null when it has none.
  sdg.options = (problem) => {
    const listed = problem.more.options?.text;
    if (!listed) return null;
    try {
      const parsed = JSON.parse(listed);
      const pairs = Array.isArray(parsed) ? parsed.map((text, number) => [String.fromCharCode(65 + number), text])
        : Object.entries(parsed);
      return sdg.el("ul", { class: "options" }, pairs.map(([letter, text]) =>
        sdg.el("li", {}, sdg.el("b", {}, sdg.bdi(letter)), " ", sdg.el("bdi", {}, sdg.prose(String(text))))));
    } catch { // not a list: shown below, with the other keys
      return null;
    }
  };

  const labelFacts = (problem) => facts([
    ["Reference", problem.reference === "" ? sdg.answer("") : sdg.answer(problem.reference)],
    ["Label", problem.decision && (problem.decision === "undecided"
      ? sdg.badge("undecided")
      : [sdg.answer(problem.label), " ", sdg.badge(problem.decision)])],
    ["Why", problem.reason],
    ["Confidence", sdg.percent(problem.confidence)],
    ["Votes", problem.votes === null || problem.votes === undefined ? null : `${problem.votes} of ${problem.seeds}`],
    ["Solved", problem.pass_rate === null ? null : `${problem.right} of ${problem.solutions.length}`],
    ["Source", problem.source && sdg.bdi(problem.source)],
    ["Id", sdg.el("code", {}, sdg.bdi(problem.id))],
  ]);

  // The distinct answers as bars, most votes first.
  sdg.answers = (problem) => {
    if (!problem.answers.length || problem.more.language) return null;
    const total = problem.solutions.length;
    return sdg.el("section", { class: "card votes" }, sdg.el("h3", {}, "Answers"),
      sdg.el("ol", {}, problem.answers.map((one) => {
        const bar = sdg.el("span", { class: `vote-bar ${WORDS[one.correct]}` });
        bar.style.width = `${(100 * one.seeds.length) / total}%`;
        return sdg.el("li", {}, sdg.el("span", { class: "vote-answer" }, sdg.answer(one.answer)),
          sdg.el("span", { class: "vote-track", title: `seeds ${one.seeds.join(", ")}` }, bar),
          sdg.el("span", { class: "vote-count" }, `${one.seeds.length}`));
      })));
  };

  // One solution with its thinking folded. title: of a witness, whose verdict is hidden.
  sdg.solution = (problem, solution, title) => {
    const verdict = WORDS[solution.correct];
    const judged = solution.how && !title;
    const state = judged ? verdict : "unjudged";
    const head = sdg.el("header", {},
      sdg.el("b", {}, title || `Seed ${solution.seed}`),
      judged ? sdg.badge(verdict) : null,
      judged ? sdg.el("span", { class: "soft" }, `by ${solution.how}`) : null,
      solution.predicted && !problem.more.language ? sdg.el("span", { class: "predicted" }, sdg.answer(solution.predicted)) : null,
      sdg.el("span", { class: "spacer" }),
      solution.dropped && !title ? sdg.el("span", { class: "chip" }, `dropped: ${solution.dropped}`) : null,
      solution.kept && !title ? sdg.el("span", { class: "chip kept" }, "exported") : null,
      solution.finish && solution.finish !== "stop" ? sdg.el("span", { class: "chip" }, sdg.bdi(solution.finish)) : null,
      sdg.el("span", { class: "soft" }, sdg.plural(solution.tokens, "token")));
    return sdg.el("section", { class: `card solution ${state}` }, head,
      solution.damaged ? sdg.el("p", { class: "error" }, solution.damaged) : null,
      solution.thinking ? thinking(problem, solution) : null,
      solution.answer.length ? sdg.longText(solution.answer, piece(problem, solution.seed, "answer"))
        : sdg.el("p", { class: "soft" }, "It has no answer after the thinking."));
  };

  // Thinking is loaded when it is unfolded.
  const thinking = (problem, solution) => {
    const more = piece(problem, solution.seed, "thinking");
    const element = sdg.el("details", { class: "thinking" },
      sdg.el("summary", {}, `Thinking, ${sdg.plural(solution.thinking.length, "character")}`));
    element.addEventListener("toggle", async () => {
      if (!element.open || element.children.length > 1) return;
      const place = sdg.el("p", { class: "soft" }, "…");
      element.append(place);
      try {
        const first = more ? await more(0) : solution.thinking;
        place.replaceWith(sdg.longText({ text: first.text, length: solution.thinking.length }, more));
      } catch (error) {
        place.replaceWith(sdg.el("p", { class: "error" }, error.message));
      }
    });
    return element;
  };

  const failures = (problem) => sdg.el("section", { class: "card" }, sdg.el("h3", {}, "Solutions that failed"),
    sdg.el("ul", {}, problem.failures.map((one) =>
      sdg.el("li", {}, `seed ${one.seed}: ${one.reason} `, sdg.bdi(one.detail, { class: "soft" })))));

  const replies = (problem) => sdg.el("details", { class: "card" },
    sdg.el("summary", {}, `What the judge said (${problem.replies.length})`),
    problem.replies.map((one) => sdg.el("div", { class: "reply" },
      sdg.el("p", {}, sdg.badge(WORDS[one.judgement]), " ", sdg.answer(one.predicted),
        sdg.el("span", { class: "soft" }, " compared with "), sdg.answer(one.expected), " ",
        one.model ? sdg.bdi(one.model, { class: "soft" }) : null),
      sdg.longText(one.reply, null))));

  const request = (problem, run) => !problem.messages.length && !problem.messages_note ? null
    : sdg.el("details", { class: "card" }, sdg.el("summary", {}, "The request"),
      problem.messages_note ? sdg.el("p", { class: "error" }, problem.messages_note) : null,
      facts(Object.entries(run.request).map(([name, value]) =>
        [name.replaceAll("_", " "), sdg.bdi(typeof value === "object" ? JSON.stringify(value) : value)])),
      problem.messages.map((one) => sdg.el("div", { class: "message" }, sdg.el("b", {}, one.role),
        sdg.longText(one.content, null))));

  const more = (problem) => {
    const keys = Object.entries(problem.more).filter(([name]) => name !== "options" || !sdg.options(problem));
    return keys.length ? sdg.el("details", { class: "card" }, sdg.el("summary", {}, "Other keys of the problem"),
      keys.map(([name, value]) => sdg.el("div", { class: "message" }, sdg.el("b", {}, sdg.bdi(name)),
        sdg.longText(value, null)))) : null;
  };

  // Show a problem in the pane. step(by): go to a neighbour; close().
  sdg.drawProblem = (problem, run, { step, close }) => {
    const pane = sdg.byId("detail");
    const button = (label, name, action) =>
      sdg.el("button", { type: "button", "aria-label": name, title: name, onclick: action }, label);
    pane.replaceChildren(
      sdg.el("header", { class: "pane-head" }, sdg.el("h2", {}, `Problem ${sdg.number(problem.position + 1)}`),
        sdg.el("span", { class: "spacer" }),
        button("Thinking", "unfold or fold all thinking (t)", sdg.toggleThinking),
        button("Raw", "texts as written, or rendered (r)", sdg.toggleRaw),
        button("↑", "previous problem (k)", () => step(-1)), button("↓", "next problem (j)", () => step(1)),
        button("✕", "close (Esc)", close)),
      ...sdg.problem(problem, run));
    pane.hidden = false;
    pane.scrollTop = 0;
  };

  sdg.toggleThinking = () => {
    const all = [...document.querySelectorAll("main:not([hidden]) details.thinking")];
    const open = !all.every((one) => one.open);
    for (const one of all) one.open = open;
  };
})();
