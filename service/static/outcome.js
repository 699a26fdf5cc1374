// What an attack found: the pictures, who fell and who held, and the figures.

import { $, h, memberCell, series, sharp } from "./dom.js";
import { big, readouts, suspicion } from "./verdict.js";
import { count, epsText, milliseconds, percent, plain } from "./words.js";

export function sentence(found, unit) {
  const { name, norm, eps } = found.attack, ball = `${norm} ${epsText(eps, unit)}`;
  if (found.outcome === "broken") {
    const became = found.adversarial?.label;
    return became ? `Broken within ${ball}: the vote turns from ${found.clean.label} to ${became}.`
      : `Broken within ${ball}: the ensemble has no verdict any more.`;
  }
  return `Not broken within the budget: ${name} found nothing within ${ball}. That is not robust: another attack, or more steps, may.`;
}

export function showOutcome(found, unit, extra) {
  const broken = found.outcome === "broken", quiet = (text) => h("p", { className: "quiet" }, text);
  const labels = [found.clean.label, ...(broken ? [found.adversarial?.label ?? "none"] : [])];
  const turn = labels.flatMap((label, index) => [index && h("span", {}, "→"), big(h("output"), label, ...labels)]);
  const section = h("section", { id: "outcome", className: broken ? "broken" : "held" },
    h("h2", { id: "outcome-title" }, sentence(found, unit)),
    extra && quiet(extra),
    h("div", { className: "columns" },
      broken && pictures(found),
      h("div", {},
        h("div", { className: "turn", ariaHidden: "true" }, ...turn),
        readouts(h("dl"), [...(broken ? figures(found, unit) : []), ["took", milliseconds(found.time_ms)]])),
      h("div", {}, fates(found), ...found.warnings.map((text) => quiet(`Note: ${text}.`)), details(found))));
  section.setAttribute("aria-labelledby", "outcome-title");
  $("outcome").replaceWith(section);
}

export function hideOutcome() {
  $("outcome").hidden = true;
}

function pictures({ clean, adversarial, perturbation, images }) {
  const times = `×${plain(0.5 / perturbation.linf)}`, became = adversarial?.label ?? "none";
  return h("div", { className: "trio" },
    picture(images.original, "original", clean.label, `The original picture, seen as ${clean.label}`),
    picture(images.perturbation, "change", times, `The change, magnified ${times}`),
    picture(images.adversarial, "adversarial", became, `The adversarial picture, seen as ${became}`));
}

function picture(data, name, value, alt) {
  const image = sharp(h("img", { src: `data:image/png;base64,${data}`, alt }));
  return h("figure", {}, image, h("figcaption", {}, h("span", {}, name), h("b", {}, value)));
}

const share = (value, digits) => (value == null ? "–" : percent(value, digits));

function figures(found, unit) {
  const { adversarial, perturbation } = found;
  return [
    ["falls from eps", epsText(found.smallest_eps, unit)],
    ["confidence", share(adversarial?.confidence)],
    ["agreement", share(adversarial?.agreement, 0)],
    suspicion(adversarial?.suspicious),
    ["linf · l2", `${epsText(perturbation.linf, unit)} · ${plain(perturbation.l2)}`],
    ["pixels changed", count(perturbation.l0)],
    ...(found.confirmed_on_served ? [] : [["confirmed", "no", "alarm"]]),
  ];
}

function fates(found) {
  const margins = found.members.flatMap((each) => [each.margin_before, each.margin_after]);
  const most = Math.max(...margins.map(Math.abs), 1e-9);
  const rows = found.members.map((member, index) => {
    const { label_before: before, label_after: after, flipped } = member;
    const fate = flipped ? "fell" : before === found.clean.label ? "held" : "dissented";
    return h("tr", { className: fate },
      memberCell(member, index + 1),
      h("td", {}, (flipped ? [before, after] : [before]).map((label) => label ?? "–").join(" → ")),
      h("td", { className: "measure" }, ...margin(member, index + 1, most)),
      h("td", { className: "fate" }, fate));
  });
  const head = ["Member", "Vote", "Margin, before and after", "Fate"].map((text) => h("th", { scope: "col" }, text));
  return h("table", {}, h("caption", { className: "unseen" }, "Which members fell"), h("thead", {}, h("tr", {}, ...head)), h("tbody", {}, ...rows));
}

/** A margin before (a tick) and after (a bar) on a scale whose middle is 0: left of it the member is wrong. */
function margin(member, index, most) {
  const { margin_before: before, margin_after: after } = member, part = (value) => (50 * value) / most;
  const end = part(after ?? before ?? 0), fill = h("i"), tick = h("b");
  fill.style.left = `${50 + Math.min(0, end)}%`;
  fill.style.width = `${Math.abs(end)}%`;
  tick.style.left = `${50 + part(before ?? 0)}%`;
  const words = [before, after].filter((value) => value !== null).map((value) => value.toFixed(1)).join(" → ");
  return [h("span", { className: `scale ${series(index)}`, ariaHidden: "true" }, fill, tick), h("span", { className: "share" }, words || "–")];
}

function details(found) {
  const { name, steps, step_size: size, restarts, random_start: random, seed, losses, budget_ms } = found.attack;
  const effort = size === null
    ? `up to ${count(steps)} ${random ? "queries" : "steps"}`
    : `${steps} steps of ${plain(size)}, ${restarts} start${restarts > 1 ? "s" : ""}${random ? ", random" : ""}`;
  const rows = [
    ["threat model", found.threat_model],
    ["attack", `${name}, ${effort}, seed ${seed}`],
    ["losses", losses.join(", ") || "none"],
    ["asked for", `${count(found.queries)} verdicts, ${count(found.gradient_calls)} gradients`],
    ["budget", milliseconds(budget_ms)],
  ];
  return h("details", {}, h("summary", {}, "All parameters"), readouts(h("dl"), rows));
}
