"use strict";
// Colour program text: comments, strings, numbers and keywords of Python, C++, JSON and shell.
(() => {
  const MAX_COLOURED = 60000; // characters; longer programs stay plain
  const KEYWORDS = {
    python: "and as assert async await break class continue def del elif else except finally for from global if " +
      "import in is lambda nonlocal not or pass raise return try while with yield True False None match case",
    cpp: "auto bool break case catch char class const constexpr continue default delete do double else enum explicit " +
      "false float for friend if inline int long namespace new nullptr operator private protected public return " +
      "short signed sizeof static struct switch template this throw true try typedef typename union unsigned using " +
      "virtual void while size_t string vector map set pair",
    json: "true false null",
    shell: "if then else fi for in do done while case esac function return exit export local",
  };
  const LANGUAGES = {
    py: "python", python3: "python", "c++": "cpp", cc: "cpp", c: "cpp", bash: "shell", sh: "shell", zsh: "shell",
  };
  const WORDS = Object.fromEntries(Object.entries(KEYWORDS).map(([name, words]) => [name, new Set(words.split(" "))]));
  // Each alternative takes time in proportion to what it matches.
  const TOKENS = {
    cpp: /(\/\/[^\n]*|\/\*[^]*?(?:\*\/|(?![^]))|^[ \t]*#[^\n]*)|("(?:[^"\\\n]|\\.)*"?|'(?:[^'\\\n]|\\.)*'?)|(\b\d[\w.]*)|([A-Za-z_]\w*)/gm,
    other: /(#[^\n]*)|("""[^]*?(?:"""|$)|'''[^]*?(?:'''|$)|"(?:[^"\\\n]|\\.)*"?|'(?:[^'\\\n]|\\.)*'?)|(\b\d[\w.]*)|([A-Za-z_]\w*)/g,
  };

  // Return a block with a program.
  sdg.codeBlock = (code, language) => {
    const name = LANGUAGES[language] || language;
    const words = WORDS[name] || (language ? new Set() : WORDS.python);
    const element = sdg.el("code", { class: "program" });
    if (code.length > MAX_COLOURED) element.append(...sdg.visible(code));
    else element.append(...colour(code, TOKENS[name === "cpp" ? "cpp" : "other"], words));
    return sdg.el("pre", { "data-language": language || null, dir: "ltr" }, element);
  };

  const colour = (code, pattern, words) => {
    const nodes = [];
    let end = 0;
    for (const match of code.matchAll(pattern)) {
      const kind = match[1] ? "comment" : match[2] ? "string" : match[3] ? "digits" : words.has(match[4]) ? "word" : "";
      if (!kind) continue;
      nodes.push(...sdg.visible(code.slice(end, match.index)));
      nodes.push(sdg.el("span", { class: `code-${kind}` }, sdg.visible(match[0])));
      end = match.index + match[0].length;
    }
    nodes.push(...sdg.visible(code.slice(end)));
    return nodes;
  };
})();
