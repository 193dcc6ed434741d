"use strict";
// Build elements. Texts of models and downloads become text nodes, never HTML.
const sdg = {};

(() => {
  // Return an element. Properties: class, on… handlers as functions, data-…/aria-… and other attributes.
  sdg.el = (tag, properties, ...children) => {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(properties || {})) {
      if (value === null || value === undefined || value === false) continue;
      if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
      else if (name === "value" || name === "checked") element[name] = value;
      else element.setAttribute(name, value === true ? "" : value);
    }
    element.append(...children.flat(2).filter((child) => child !== null && child !== undefined && child !== false));
    return element;
  };

  sdg.byId = (id) => document.getElementById(id);

  // Characters that change how their neighbours look, or that nobody sees: shown by their number.
  const HIDDEN = new RegExp(
    "[\\u0000-\\u0008\\u000b-\\u001f\\u007f-\\u009f\\u00ad\\u061c\\u180e\\u200b\\u200e\\u200f\\u202a-\\u202e" +
      "\\u2060-\\u206f\\ufeff\\ufff9-\\ufffb]|[\\u{e0000}-\\u{e007f}]", "gu");

  // Return nodes of a text in which no character is hidden.
  sdg.visible = (text) => {
    const nodes = [];
    let end = 0;
    for (const match of text.matchAll(HIDDEN)) {
      if (match.index > end) nodes.push(text.slice(end, match.index));
      const number = match[0].codePointAt(0).toString(16).toUpperCase().padStart(4, "0");
      nodes.push(sdg.el("span", { class: "hidden-character", title: "a control character" }, `U+${number}`));
      end = match.index + match[0].length;
    }
    nodes.push(text.slice(end));
    return nodes;
  };

  // Return a short text, isolated so that its direction does not spread.
  sdg.bdi = (text, properties) => sdg.el("bdi", properties, sdg.visible(String(text ?? "")));

  sdg.number = (value) => (value === null || value === undefined ? "" : Math.round(value).toLocaleString("en-US"));
  sdg.percent = (share) => {
    if (share === null || share === undefined) return "";
    const shown = Math.round(share * 100);
    if (shown === 100 && share < 1) return `${(Math.floor(share * 1000) / 10).toFixed(1)} %`;
    return shown === 0 && share > 0 ? "< 1 %" : `${shown} %`;
  };
  sdg.plural = (count, word) => `${sdg.number(count)} ${word}${count === 1 ? "" : "s"}`;
})();
