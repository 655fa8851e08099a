// A small, safe part of Markdown: fenced code, lists, headings, paragraphs; inline code, bold, italics, links.
// Model text only ever becomes text nodes and element names from this file, never markup.

const INLINE = /(`+)(.+?)\1|\*\*(?=\S)(.+?)\*\*|\*(?=\S)([^*]+?)\*|\[([^\]]+)\]\((https?:\/\/[^\s)]+)\)/;

// What follows the backticks of a block's first line names a language; with more backticks it is inline code.
const FENCE = /^\s*(`{3,})[^`]*$/;

function closes(line, fence) {
  const found = FENCE.exec(line);
  return found !== null && line.trim() === found[1] && found[1].length >= fence.length;
}

function startsBlock(line) {
  return FENCE.test(line) || /^\s*([-*]\s|\d+[.)]\s|#{1,6}\s)/.test(line);
}

function element(name, ...children) {
  const node = document.createElement(name);
  node.append(...children);
  return node;
}

/** Return the nodes of one line of text. */
function inline(text) {
  const nodes = [];
  for (let rest = text; rest; ) {
    const match = INLINE.exec(rest);
    if (!match) return [...nodes, rest];
    if (match.index) nodes.push(rest.slice(0, match.index));
    const [all, , code, bold, italic, label, address] = match;
    if (code !== undefined) nodes.push(element("code", code));
    else if (bold !== undefined) nodes.push(element("strong", ...inline(bold)));
    else if (italic !== undefined) nodes.push(element("em", ...inline(italic)));
    else nodes.push(link(label, address));
    rest = rest.slice(match.index + all.length);
  }
  return nodes;
}

function link(label, address) {
  const node = element("a", label);
  Object.assign(node, { href: address, target: "_blank", rel: "noopener noreferrer nofollow" });
  return node;
}

function codeBlock(text) {
  const copy = element("button", "Copy");
  copy.type = "button";
  copy.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(text);
      copy.textContent = "Copied";
    } catch {
      copy.textContent = "Not allowed";
    }
  });
  const block = element("div", element("pre", element("code", text)), copy);
  block.className = "code";
  return block;
}

function paragraph(lines) {
  return element("p", ...lines.flatMap((line, i) => (i ? [element("br"), ...inline(line)] : inline(line))));
}

/** Return a fragment that shows the text. An unfinished code block, as while streaming, is shown as one. */
export function render(text) {
  const fragment = document.createDocumentFragment();
  const lines = text.split("\n");
  for (let i = 0; i < lines.length; ) {
    const fence = FENCE.exec(lines[i]);
    const item = /^\s*(?:[-*]|(\d+)[.)])\s+(.*)/.exec(lines[i]);
    const heading = /^#{1,6}\s+(.*)/.exec(lines[i]);
    if (fence) {
      const end = lines.findIndex((line, at) => at > i && closes(line, fence[1]));
      fragment.append(codeBlock(lines.slice(i + 1, end < 0 ? undefined : end).join("\n")));
      i = end < 0 ? lines.length : end + 1;
    } else if (item) {
      const list = element(item[1] ? "ol" : "ul");
      if (item[1]) list.start = Number(item[1]);
      for (let next = item; next; next = /^\s*(?:[-*]|(\d+)[.)])\s+(.*)/.exec(lines[++i] ?? "")) {
        list.append(element("li", ...inline(next[2])));
      }
      fragment.append(list);
    } else if (heading) {
      fragment.append(element("h3", ...inline(heading[1])));
      i += 1;
    } else if (lines[i].trim()) {
      const start = i;
      while (i < lines.length && lines[i].trim() && (i === start || !startsBlock(lines[i]))) i += 1;
      fragment.append(paragraph(lines.slice(start, i)));
    } else {
      i += 1;
    }
  }
  return fragment;
}
