// The curve of accuracy against eps, on the scale of the slider below it; without a report, the scale alone.

import { $, h, s } from "./dom.js";
import { count, epsText, percent, plain } from "./words.js";

const HEIGHT = 190, BARE = 62, EDGE = 10, TOP = 10, AXIS = 26;
const NICE = [1, 2, 2.5, 5, 10];

/** Draws `view`: `{largest, unit, curve, members, eps, trail, smallest}`; call again whenever one of them changes. */
export class Chart {
  #host = $("chart");
  #view = null;

  constructor() {
    new ResizeObserver(() => this.#draw()).observe(this.#host);
  }

  show(view) {
    this.#view = view;
    this.#draw();
  }

  #draw() {
    const width = this.#host.clientWidth, view = this.#view;
    if (!view || !width) return;
    const height = view.curve ? HEIGHT : BARE, floor = height - AXIS;
    const x = (eps) => EDGE + (width - 2 * EDGE) * (eps / view.largest);
    const y = (share) => TOP + (floor - TOP) * (1 - share);
    const drawn = s("svg", { width, height, viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": described(view) });
    if (view.curve) {
      const clip = s("svg", { class: "clip", width: width - EDGE + 4, height: floor + 4 }); // a curve may go on beyond the scale
      clip.append(...lines(view, x, y));
      drawn.append(...grid(width, x, y), clip);
    }
    drawn.append(...axis(view, x, floor, width), ...marks(view, x, floor));
    this.#host.replaceChildren(view.curve ? keys(view) : h("span"), drawn);
  }
}

/** What the curve says at an eps: a measured point, or the two that it lies between. */
export function reading(curve, eps, unit) {
  const at = curve.eps.findIndex((each) => Math.abs(each - eps) < 1e-6);
  const share = (index) => percent(curve.series.vote[index].share);
  const whom = `of ${count(curve.n)} images`;
  if (at >= 0) return `Measured at eps ${epsText(eps, unit)}: the vote is right on ${share(at)} ${whom}.`;
  const next = curve.eps.findIndex((each) => each > eps);
  if (next < 1) return `Measured up to eps ${epsText(curve.eps.at(-1), unit)}: right on ${share(curve.eps.length - 1)} ${whom}.`;
  const [low, high] = [next - 1, next].map((index) => `${share(index)} at ${epsText(curve.eps[index], unit)}`);
  return `Measured around this eps: the vote is right on ${low}, ${high}, ${whom}.`;
}

function described(view) {
  if (!view.curve) return `Scale of eps from 0 to ${epsText(view.largest, view.unit)}; no curve has been measured.`;
  const points = view.curve.eps.map((eps, index) => `${percent(view.curve.series.vote[index].share)} at eps ${plain(eps)}`);
  return `Accuracy of the vote against eps: ${points.join(", ")}.`;
}

const names = (view) => ["vote", ...view.members].filter((name) => view.curve.series[name]);

function keys(view) {
  const each = names(view).map((name) => h("span", { className: `key s${view.members.indexOf(name) + 1}` }, name));
  return h("p", { className: "keys", ariaHidden: "true" }, ...each);
}

function grid(width, x, y) {
  return [0, 0.5, 1].flatMap((share) => [
    s("line", { class: "grid", x1: x(0), x2: width - EDGE, y1: y(share), y2: y(share) }),
    s("text", { class: "tick", x: width - EDGE, y: y(share) - 3, "text-anchor": "end" }, share ? `${100 * share}%` : ""),
  ]);
}

function lines(view, x, y) {
  const { curve } = view;
  return names(view).reverse().map((name) => {
    const points = curve.eps.map((eps, index) => [eps, curve.series[name][index].share]);
    const path = points.map(([eps, share], index) => `${index ? "L" : "M"}${x(eps).toFixed(1)} ${y(share).toFixed(1)}`);
    const group = s("g", { class: `series s${view.members.indexOf(name) + 1}` }, s("path", { class: "line", d: path.join("") }));
    if (name === "vote") {
      for (const [eps, share] of points) {
        group.append(s("circle", { class: "dot", cx: x(eps), cy: y(share), r: 3 }));
      }
    }
    return group;
  });
}

function axis(view, x, floor, width) {
  const scale = view.unit ? 255 : 1, rough = (view.largest * scale) / Math.max(3, Math.min(8, width / 70));
  const power = 10 ** Math.floor(Math.log10(rough)), step = power * NICE.find((each) => each * power >= rough);
  const drawn = [s("line", { class: "axis", x1: x(0), x2: x(view.largest), y1: floor, y2: floor })];
  for (let at = 0; at <= view.largest * scale * 1.0001; at += step) {
    const eps = at / scale, where = x(eps), ends = eps > view.largest * 0.97 ? "end" : at ? "middle" : "start";
    drawn.push(s("line", { class: "axis", x1: where, x2: where, y1: floor, y2: floor + 4 }));
    drawn.push(s("text", { class: "tick", x: ends === "start" ? where - 4 : where, y: floor + 17, "text-anchor": ends },
      at ? epsText(eps, view.unit) : "0"));
  }
  return drawn;
}

function marks(view, x, floor) {
  const drawn = [], inside = (eps) => Math.min(eps, view.largest);
  for (const { eps, broken } of view.trail) {
    drawn.push(s("circle", { class: broken ? "fell" : "held", cx: x(inside(eps)), cy: floor, r: 3.5 }));
  }
  drawn.push(s("path", { class: "cursor", d: `M${x(inside(view.eps))} ${TOP - 6}V${floor + 8}` }));
  if (view.smallest) {
    const at = x(inside(view.smallest)), late = view.smallest > 0.6 * view.largest;
    drawn.push(s("path", { class: "smallest", d: `M${at} ${TOP - 6}V${floor}` }));
    const place = { class: "tick falls", x: at + (late ? -7 : 7), y: TOP + 15, "text-anchor": late ? "end" : "start" };
    drawn.push(s("text", place, `falls from ${epsText(view.smallest, view.unit)}`));
  }
  return drawn;
}
