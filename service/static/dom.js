// Elements by id, and made by hand: no markup is ever parsed from a string.

const SVG = "http://www.w3.org/2000/svg";

export const $ = (id) => document.getElementById(id);

/** An HTML element with its properties; children are nodes or text, and what is empty is left out. */
export function h(tag, props = {}, ...children) {
  const element = Object.assign(document.createElement(tag), props);
  element.append(...children.filter(Boolean));
  return element;
}

export function s(tag, attributes = {}, ...children) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

export const announce = (text) => ($("status").textContent = text);

/** An image whose pixels are shown as squares if they are few. */
export function sharp(image) {
  image.onload = () => image.classList.toggle("pixels", Math.max(image.naturalWidth, image.naturalHeight) <= 128);
  return image;
}

/** The class of a series, for its colour: the vote is 0; after five members their colours come again. */
export const series = (index) => `s${index && ((index - 1) % 5) + 1}`;

/** A bar of `share` of its width, in the colour of series `index`. */
export function bar(share, index, kind = "") {
  const fill = h("i");
  fill.style.width = `${100 * Math.min(1, Math.max(0, share))}%`;
  return h("span", { className: `bar ${series(index)} ${kind}`, ariaHidden: "true" }, fill);
}

export function precision({ precision: { weights, activations } }) {
  return weights === 32 ? "fp32" : `w${weights}a${activations}`;
}

/** A member's cell: its colour, name and precision. Series 0 is the vote. */
export function memberCell(member, index, ...more) {
  const small = [precision(member), ...more].filter((word) => word && word !== member.name).join(", ");
  return h("th", { scope: "row", className: `member ${series(index)}` }, member.name, small && h("small", {}, small));
}
