"use strict";
// Show long texts of models: formulas and code rendered once they come into view, the rest of a long one on demand.
(() => {
  const INLINE = /`([^`\n]{1,500})`|\*\*([^*\n]{1,500})\*\*/g;
  let raw = false;

  // Texts are rendered when they come into view: a problem may have sixteen of a hundred formulas each.
  const pending = new WeakMap();
  const watcher = new IntersectionObserver((entries) => {
    for (const { isIntersecting, target } of entries) {
      if (!isIntersecting) continue;
      watcher.unobserve(target);
      pending.get(target)?.();
    }
  }, { rootMargin: "400px" });

  // Return an element with a text {text, length}. more(start): promises its next piece {text, length}.
  sdg.longText = (first, more) => {
    let shown = first.text;
    const body = sdg.el("div", { class: "prose", dir: "auto" });
    const element = sdg.el("div", { class: "long-text" }, body);
    const draw = () => body.replaceChildren(...(raw ? sdg.visible(shown) : rendered(shown)));
    const watch = () => {
      body.replaceChildren(...sdg.visible(shown.slice(0, 1500))); // its place, until it is seen
      watcher.observe(body);
    };
    pending.set(body, draw);
    body.addEventListener("redraw", draw);
    const rest = () => {
      const left = first.length - shown.length;
      if (left <= 0) return;
      const note = `${sdg.number(left)} more characters`;
      const button = sdg.el("button", {
        type: "button", class: "more",
        onclick: async () => {
          button.disabled = true;
          try {
            shown += (await more(shown.length)).text;
            draw();
            button.remove();
            rest();
          } catch (error) {
            button.replaceWith(sdg.el("p", { class: "error" }, error.message));
          }
        },
      }, `Show ${note}`);
      element.append(more ? button : sdg.el("p", { class: "soft" }, `${note} are not in this folder.`));
    };
    watch();
    rest();
    return element;
  };

  // Show all texts as they are written, or rendered.
  sdg.toggleRaw = () => {
    raw = !raw;
    document.body.classList.toggle("raw", raw);
    for (const body of document.querySelectorAll(".prose")) body.dispatchEvent(new Event("redraw"));
  };

  // Return nodes of a whole text: code between fences, and prose with formulas.
  const rendered = (text) => {
    const nodes = [];
    let prose = [], code = null, language = "", fence = "";
    const endProse = () => {
      if (prose.length) nodes.push(...sdg.prose(prose.join("\n")));
      prose = [];
    };
    for (const line of text.split("\n")) {
      const mark = /^\s{0,3}(`{3,}|~{3,})\s*([\w+#-]{0,20})/.exec(line.slice(0, 80));
      if (code === null && mark) {
        endProse();
        [code, fence, language] = [[], mark[1], mark[2].toLowerCase()];
      } else if (code !== null && mark && mark[1].startsWith(fence) && !mark[2]) {
        nodes.push(sdg.codeBlock(code.join("\n"), language));
        code = null;
      } else (code || prose).push(line);
    }
    endProse();
    if (code !== null) nodes.push(sdg.codeBlock(code.join("\n"), language));
    return nodes;
  };

  // Return nodes of prose: formulas, headings, bold words and inline code.
  sdg.prose = (text) => {
    const parts = sdg.findFormulas(text);
    const isBlock = (place) => Boolean(parts[place]?.display);
    return parts.flatMap((part, place) => {
      if (typeof part !== "string") return [sdg.renderFormula(part.formula, part.display) || sdg.bdi(part.source)];
      const tail = isBlock(place + 1) ? part.replace(/[ \n]{1,9}$/, "") : part; // a block breaks the line anyway
      return words(isBlock(place - 1) ? tail.replace(/^[ \n]{1,9}/, "") : tail);
    });
  };

  const words = (text) => {
    const nodes = [];
    for (const [number, line] of text.split("\n").entries()) {
      if (number) nodes.push("\n");
      const heading = /^#{1,6}\s+/.exec(line);
      if (heading) nodes.push(sdg.el("strong", { class: "heading" }, inline(line.slice(heading[0].length))));
      else nodes.push(...inline(line));
    }
    return nodes;
  };

  const inline = (line) => {
    const nodes = [];
    let end = 0;
    for (const match of line.matchAll(INLINE)) {
      nodes.push(...sdg.visible(line.slice(end, match.index)));
      nodes.push(sdg.el(match[1] ? "code" : "strong", {}, sdg.visible(match[1] || match[2])));
      end = match.index + match[0].length;
    }
    nodes.push(...sdg.visible(line.slice(end)));
    return nodes;
  };
})();
