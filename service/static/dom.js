// Elements by id, and made by hand: no markup is ever parsed from a string.

const SVG = "http://www.w3.org/2000/svg";

export const $ = (id) => document.getElementById(id);

/** An HTML element. `props` are properties, or attributes where their name has a dash; children are nodes or text. */
export function h(tag, props = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (name.includes("-") || name === "role" || name === "scope") element.setAttribute(name, value);
    else element[name] = value;
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

/** An SVG element. */
export function s(tag, attributes = {}, ...children) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

/** Say it to those who listen to the page. */
export function announce(text) {
  $("status").textContent = text;
}

/** A bar of `share` of its width, in the colour of series `index`. */
export function bar(share, index, kind = "") {
  const fill = h("i");
  fill.style.width = `${100 * Math.min(1, Math.max(0, share))}%`;
  return h("span", { className: `bar s${index} ${kind}`, ariaHidden: "true" }, fill);
}

/** A member's bit widths as the field writes them. */
export function precision({ precision: { weights, activations } }) {
  return weights === 32 ? "fp32" : `w${weights}a${activations}`;
}

/** A member's cell: its colour, name and precision. Series 0 is the vote. */
export function memberCell(member, index, ...more) {
  const small = [precision(member), ...more].filter((word) => word && word !== member.name).join(", ");
  return h("th", { scope: "row", className: `member s${index}` }, member.name, small ? h("small", {}, small) : null);
}
