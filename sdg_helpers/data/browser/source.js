"use strict";
// Where the page's data comes from: the server beside it, or script files in its folder.
(() => {
  const inFolder = document.documentElement.dataset.mode === "folder";

  const ask = async (name, parameters) => {
    const query = new URLSearchParams(parameters || {}).toString();
    return read(await fetch(`api/${name}${query ? `?${query}` : ""}`));
  };
  const read = async (response) => {
    const answer = await response.json();
    if (!response.ok) throw new Error(answer.error);
    return answer;
  };

  const served = {
    inFolder,
    run: () => ask("run"),
    table: (parameters) => ask("table", parameters),
    problem: (position) => ask("problem", { position }),
    text: (position, seed, part, start) => ask("text", { position, seed: seed ?? "", part, start }),
    docket: () => ask("docket"),
    decide: async (decision) =>
      read(await fetch("api/decide", {
        method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(decision),
      })),
  };

  // -- a folder -------------------------------------------------------------------------------------------------------

  const received = new Map();
  const waiting = new Map();
  sdg.receive = (name, value) => {
    received.set(name, value);
    waiting.get(name)?.(value);
  };
  let policy = null;
  const load = (name) => {
    if (received.has(name)) return Promise.resolve(received.get(name));
    return new Promise((resolve, reject) => {
      waiting.set(name, resolve);
      const check = (url) => {
        if (!/^data\/[a-z]+(-[0-9]+)?\.js$/.test(url)) throw new TypeError(url);
        return url;
      };
      policy ??= window.trustedTypes?.createPolicy("sdg-data", { createScriptURL: check }) || { createScriptURL: check };
      const script = document.createElement("script");
      script.src = policy.createScriptURL(`data/${name}.js`);
      script.addEventListener("error", () => reject(new Error(`data/${name}.js is missing`)));
      document.head.append(script);
    });
  };

  const folder = {
    inFolder,
    run: () => load("run"),
    table: async (parameters) => {
      const run = await load("run");
      const rows = sdg.select(run.rows, parameters, run.columns);
      const start = Number(parameters.get("page") || 0) * run.page_rows;
      return { total: rows.length, rows: rows.slice(start, start + run.page_rows) };
    },
    problem: async (position) => {
      const run = await load("run");
      const place = run.rows.findIndex((row) => row.position === position);
      const chunk = run.chunks.findLastIndex((first) => first <= place);
      return (await load(`problems-${chunk}`))[position];
    },
  };

  sdg.source = inFolder ? folder : served;
})();
