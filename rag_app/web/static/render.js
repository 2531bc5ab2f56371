// Builds elements from values. Code and answers are strangers' text: only textContent is ever set, never HTML.

export function el(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (value === true) node.setAttribute(name, "");
    else if (value !== false && value != null) node.setAttribute(name, value);
  }
  node.append(...children.filter((child) => child != null));
  return node;
}

// The lines of a hit or a source, blank ones at its end too. `lines`: tokens from /web/highlight, or null while they are awaited.
export function codeBlock({ content, start_line: first, end_line: last }, lines = null) {
  const width = String(last).length;
  const rows = content.split("\n").slice(0, last - first + 1).map((text, index) => {
    const number = first + index;
    const tokens = lines?.[index] ?? [["", text]];
    const spans = tokens.map(([kind, part]) => (kind ? el("span", { class: `t-${kind}` }, part) : part));
    return el("span", { class: "row", "data-line": number },
      el("span", { class: "number", "data-number": String(number).padStart(width) }), el("span", { class: "text" }, ...spans, "\n"));
  });
  return el("pre", { class: "code", tabindex: "0" }, el("code", {}, ...rows));
}

const FENCE = /^\s*(```+|~~~+)\s*([\w+#.-]*)/;
const ITEM = /^\s*(?:[-*•]|\d+[.)])\s+(.*)$/;

// Paragraphs, lists, headings, fenced code, `code`, **strong** and [n]: what models write, no more.
export function prose(text, onCite, known) {
  const blocks = [];
  const lines = text.split("\n");
  let paragraph = [];
  let list = null;
  const inline = (line) => inlineNodes(line, onCite, known);
  const flush = () => {
    if (paragraph.length) blocks.push(el("p", {}, ...inline(paragraph.join("\n"))));
    if (list) blocks.push(list);
    paragraph = [];
    list = null;
  };
  for (let index = 0; index < lines.length; index += 1) {
    const line = lines[index];
    const fence = FENCE.exec(line);
    const item = ITEM.exec(line);
    if (fence) {
      flush();
      const code = [];
      while (++index < lines.length && !lines[index].trim().startsWith(fence[1])) code.push(lines[index]);
      blocks.push(el("pre", { class: "fence", "data-language": fence[2], tabindex: "0" }, el("code", {}, code.join("\n").trimEnd())));
    } else if (/^#{1,6}\s/.test(line)) {
      flush();
      blocks.push(el("h3", {}, ...inline(line.replace(/^#+\s*/, ""))));
    } else if (item) {
      if (!list) flush();
      list ??= el(/^\s*\d/.test(line) ? "ol" : "ul");
      list.append(el("li", {}, ...inline(item[1])));
    } else if (line.trim() === "") flush();
    else if (list) list.lastChild.append(" ", ...inline(line.trim()));
    else paragraph.push(line);
  }
  flush();
  return blocks;
}

function inlineNodes(text, onCite, known) {
  const nodes = [];
  let last = 0;
  for (const found of text.matchAll(/(`+)(.+?)\1(?!`)|\*\*(.+?)\*\*|\[(\d{1,4})\]/gs)) {
    const [whole, , code, strong, index] = found;
    if (index && !known(Number(index))) continue;
    nodes.push(text.slice(last, found.index));
    if (code !== undefined) nodes.push(el("code", {}, code));
    else if (strong !== undefined) nodes.push(el("strong", {}, ...inlineNodes(strong, onCite, known)));
    else nodes.push(citeLink(Number(index), onCite));
    last = found.index + whole.length;
  }
  nodes.push(text.slice(last));
  return nodes;
}

function citeLink(index, onCite) {
  return el("button", { type: "button", class: "cite", "aria-label": `Show citation ${index}`, onclick: () => onCite(index) }, String(index));
}

export function place(span) {
  const lines = span.start_line === span.end_line ? `${span.start_line}` : `${span.start_line}–${span.end_line}`;
  const cut = span.path.lastIndexOf("/") + 1;
  return el("span", { class: "place" }, el("span", { class: "folder" }, span.path.slice(0, cut)),
    el("span", { class: "file" }, span.path.slice(cut)), el("span", { class: "lines" }, `:${lines}`));
}

export function notice(kind, message, action = null) {
  const button = action && el("button", { type: "button", onclick: action.run }, action.label);
  const parts = inlineNodes(message, () => {}, () => false);
  return el("div", { class: `notice ${kind}`, role: kind.startsWith("error") ? "alert" : null }, el("p", {}, ...parts), button);
}
