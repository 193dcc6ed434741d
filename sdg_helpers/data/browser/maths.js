"use strict";
// Find formulas in a text and render them with KaTeX. What is too long, or no formula, stays as it is written.
(() => {
  const MAX_FORMULA = 4000; // characters
  const MAX_FORMULAS = 600; // in one text
  const MAX_AHEAD = 60; // delimiters that may lie between the two of a formula
  const DELIMITER = /\$\$|\$|\\[\[\]()]|\\(?:begin|end)\{[a-z]{1,20}\*?\}|\\boxed\s*\{|\\[^a-zA-Z]/g;
  const ENVIRONMENTS = new Set(
    ["equation", "align", "aligned", "gather", "gathered", "alignat", "multline", "split", "array", "matrix", "pmatrix",
      "bmatrix", "vmatrix", "Bmatrix", "cases", "smallmatrix", "eqnarray"].flatMap((name) => [name, `${name}*`]));
  const CLOSING = { "$$": "$$", "$": "$", "\\[": "\\]", "\\(": "\\)" };

  // Return the parts of a text: strings, and {formula, display, source}. Takes time in proportion to the length.
  sdg.findFormulas = (text) => {
    const found = [...text.matchAll(DELIMITER)];
    const parts = [];
    let end = 0;
    for (let place = 0, count = 0; place < found.length && count < MAX_FORMULAS; place++) {
      if (found[place].index < end) continue;
      const formula = formulaAt(text, found, place);
      if (!formula) continue;
      if (found[place].index > end) parts.push(text.slice(end, found[place].index));
      parts.push(formula);
      end = found[place].index + formula.source.length;
      count++;
    }
    if (end < text.length) parts.push(text.slice(end));
    return parts;
  };

  const formulaAt = (text, found, place) => {
    const open = found[place][0];
    const start = found[place].index;
    const make = (stop, inner, display) => ({ formula: inner, display, source: text.slice(start, stop) });
    if (open.startsWith("\\boxed")) {
      const stop = closeBrace(text, start + open.length);
      return stop < 0 ? null : make(stop, text.slice(start, stop), false);
    }
    const environment = open.startsWith("\\begin") ? open.slice(7, -1) : "";
    if (environment && !ENVIRONMENTS.has(environment)) return null;
    const close = environment ? `\\end{${environment}}` : CLOSING[open];
    if (!close) return null;
    for (let ahead = place + 1; ahead < found.length && ahead <= place + MAX_AHEAD; ahead++) {
      const { index } = found[ahead];
      if (index - start > MAX_FORMULA) return null;
      if (found[ahead][0] !== close) continue;
      const inner = text.slice(start + open.length, index);
      const stop = index + close.length;
      if (open === "$" && !isInline(inner, text[stop])) return null;
      if (!inner.trim() || /\n\s*\n/.test(inner)) return null;
      return make(stop, environment ? text.slice(start, stop) : inner, open !== "$" && open !== "\\(");
    }
    return null;
  };

  // Tell a formula from two prices: "$5 and $6".
  const isInline = (inner, after) => !/^\s|\s$/.test(inner) && !/[0-9]/.test(after || "") && inner.length < 1000;

  const closeBrace = (text, from) => {
    let depth = 1;
    for (let place = from; place < text.length && place < from + MAX_FORMULA; place++) {
      if (text[place] === "\\") place++;
      else if (text[place] === "{") depth++;
      else if (text[place] === "}" && --depth === 0) return place + 1;
    }
    return -1;
  };

  // Return an element with the formula, or null when KaTeX does not take it.
  sdg.renderFormula = (formula, display) => {
    if (formula.length > MAX_FORMULA || !window.katex) return null;
    const element = sdg.el("span", { class: display ? "formula display" : "formula" });
    try {
      katex.render(formula, element, {
        displayMode: display, throwOnError: true, strict: "ignore", trust: false, maxExpand: 200, maxSize: 10,
      });
    } catch { // a mistake in the formula, or nesting too deep for the stack
      return null;
    }
    return element;
  };

  // Return nodes of a short answer: as a formula where it is written as one.
  sdg.answer = (text) => {
    if (text === null || text === undefined || text === "") return [sdg.el("span", { class: "soft" }, "none")];
    const bare = text.replace(/^\$+|\$+$/g, "");
    const formula = /[\\^_]/.test(bare) && !/[$]/.test(bare) && bare.length < 300 && sdg.renderFormula(`\\displaystyle ${bare}`, false);
    return [formula ? sdg.el("span", { title: text }, formula) : sdg.bdi(text)];
  };
})();
