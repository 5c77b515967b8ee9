// Elements. Texts only ever become text nodes: no markup is read from data, anywhere on this page.

// What would be obeyed or hidden by whoever shows it: control characters, marks that turn the direction of writing,
// invisible characters, halves of surrogate pairs.
const OBEYED =
  /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]|\p{Cs}/gu;

// A text in which such characters are written out.
function readable(text) {
  return String(text).replace(OBEYED, (one) => `\\u${one.charCodeAt(0).toString(16).padStart(4, "0")}`);
}

// h("button", { type: "button", class: "quiet", onclick: f }, "text", node, ...): an element. Names that begin with
// "on" are listeners, true is an attribute without a value, null and false leave it out. A style is never a text:
// use classes, or node.style.setProperty.
export function h(tag, attributes, ...children) {
  const node = document.createElement(tag);
  return filled(node, attributes, children);
}

// The same for SVG.
export function svg(tag, attributes, ...children) {
  const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
  return filled(node, attributes, children);
}

const SAFE_LINK = /^(#|static\/|data:image\/png;base64,)/; // where links of this page lead

function filled(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) {
      if (typeof value !== "function") throw new TypeError(`${name} takes a function`);
      node.addEventListener(name.slice(2), value);
    } else if (["href", "src", "action", "xlink:href"].includes(name) && !SAFE_LINK.test(value)) {
      throw new TypeError(`a link of this page does not lead to ${readable(value)}`);
    } else if (name === "style") {
      throw new TypeError("styles are classes, or set by node.style");
    } else {
      node.setAttribute(name, value === true ? "" : readable(value));
    }
  }
  append(node, children);
  return node;
}

// Add children: nodes, texts, numbers, lists of them; null and false are left out.
export function append(node, ...children) {
  for (const child of children.flat(Infinity)) {
    if (child === null || child === undefined || child === false) continue;
    node.append(child instanceof Node ? child : readable(child));
  }
  return node;
}

// Put other children in the place of what is there.
export function replace(node, ...children) {
  node.replaceChildren();
  return append(node, ...children);
}

// Call f once nothing has asked for it again for some milliseconds.
export function settled(f, milliseconds) {
  let timer;
  return (...args) => {
    clearTimeout(timer);
    timer = setTimeout(() => f(...args), milliseconds);
  };
}
