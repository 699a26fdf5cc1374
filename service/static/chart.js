// The curve of accuracy against eps, on the scale of the slider below it; without a report, the scale alone.

import { $, h, s, series } from "./dom.js";
import { count, epsText, percent } from "./words.js";

const HEIGHT = 190, BARE = 62, EDGE = 10, TOP = 10, AXIS = 26;

/** Draws `view`: `{largest, unit, curve, members, eps, trail, smallest}`; call again whenever one of them changes. */
export class Chart {
  #view = null;

  constructor() {
    new ResizeObserver(() => this.#draw()).observe($("chart"));
  }

  show(view) {
    this.#view = view;
    this.#draw();
  }

  #draw() {
    const width = $("chart").clientWidth, view = this.#view;
    if (!view || !width) return;
    const { curve, largest } = view, height = curve ? HEIGHT : BARE, floor = height - AXIS;
    const x = (eps) => EDGE + (width - 2 * EDGE) * (eps / largest);
    const y = (share) => TOP + (floor - TOP) * (1 - share);
    const drawn = s("svg", { width, height, role: "img", "aria-label": described(view) });
    if (curve) {
      const clip = s("svg", { width: width - EDGE + 4, height: floor + 4 }); // a curve may go on beyond the scale
      clip.append(...lines(view, x, y));
      drawn.append(...grid(x(0), x(largest), y), clip);
    }
    drawn.append(...axis(view, x, floor), ...marks(view, (eps) => x(Math.min(eps, largest)), floor));
    $("chart").replaceChildren(...(curve ? [keys(view)] : []), drawn);
  }
}

const right = ({ eps, series }, at, unit) => `${percent(series.vote[at].share)} at eps ${epsText(eps[at], unit)}`;

/** What the curve says at an eps: a measured point, or the two that it lies between. */
export function reading(curve, eps, unit) {
  const at = curve.eps.findIndex((each) => Math.abs(each - eps) < 1e-6), next = curve.eps.findIndex((each) => each > eps);
  const points = at >= 0 ? [at] : next < 1 ? [curve.eps.length - 1] : [next - 1, next];
  return `Measured: the vote is right on ${points.map((each) => right(curve, each, unit)).join(" and ")}, of ${count(curve.n)} images.`;
}

function described({ curve, largest, unit }) {
  if (!curve) return `Scale of eps from 0 to ${epsText(largest, unit)}; no curve has been measured.`;
  return `Accuracy of the vote against eps: ${curve.eps.map((_, at) => right(curve, at, unit)).join(", ")}.`;
}

const shown = ({ curve, members }) => ["vote", ...members].map((name, index) => ({ name, index })).filter(({ name }) => curve.series[name]);

function keys(view) {
  const each = shown(view).map(({ name, index }) => h("span", { className: `key ${series(index)}` }, name));
  return h("p", { className: "keys", ariaHidden: "true" }, ...each);
}

const text = (words, x, y, anchor, kind = "") => s("text", { class: `tick ${kind}`, x, y, "text-anchor": anchor }, words);
const line = (kind, d) => s("path", { class: kind, d });

function grid(left, right, y) {
  return [0, 0.5, 1].flatMap((share) => [
    line("grid", `M${left} ${y(share)}H${right}`),
    text(share ? `${100 * share}%` : "", right, y(share) - 3, "end"),
  ]);
}

function lines(view, x, y) {
  return shown(view).reverse().map(({ name, index }) => {
    const points = view.curve.eps.map((eps, at) => [x(eps), y(view.curve.series[name][at].share)]);
    const dots = index ? [] : points.map(([cx, cy]) => s("circle", { class: "dot", cx, cy, r: 3 }));
    return s("g", { class: series(index) }, line("line", `M${points.join("L")}`), ...dots);
  });
}

function axis({ unit, largest }, x, floor) {
  const ticks = [0, 0.25, 0.5, 0.75, 1].map((part) => part * largest).flatMap((eps) => [
    line("axis", `M${x(eps)} ${floor}v4`),
    text(epsText(eps, unit), eps < largest ? x(eps) : x(eps) + EDGE, floor + 17, eps < largest ? "middle" : "end"),
  ]);
  return [line("axis", `M${x(0)} ${floor}H${x(largest)}`), ...ticks];
}

function marks({ trail, eps, smallest, largest, unit }, x, floor) {
  const tried = trail.map((each) => s("circle", { class: each.broken ? "fell" : "held", cx: x(each.eps), cy: floor, r: 3.5 }));
  const drawn = [...tried, line("cursor", `M${x(eps)} ${TOP - 6}V${floor + 8}`)];
  if (smallest) {
    const [shift, anchor] = smallest > 0.6 * largest ? [-7, "end"] : [7, "start"];
    drawn.push(line("smallest", `M${x(smallest)} ${TOP - 6}V${floor}`));
    drawn.push(text(`falls from ${epsText(smallest, unit)}`, x(smallest) + shift, TOP + 15, anchor, "falls"));
  }
  return drawn;
}
