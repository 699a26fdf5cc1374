// What an attack found: the pictures, who fell and who held, and the figures.

import { $, h, memberCell } from "./dom.js";
import { big, readouts, suspicion } from "./verdict.js";
import { count, epsText, milliseconds, percent, plain } from "./words.js";

/** The outcome in one sentence. */
export function sentence(found, unit) {
  const { name, norm, eps } = found.attack, ball = `${norm} ${epsText(eps, unit)}`;
  if (found.outcome === "wrong_before_attack") return "Wrong before the attack: there was nothing to turn.";
  if (found.outcome === "broken") {
    const became = found.adversarial?.label;
    return became ? `Broken within ${ball}: the vote turns from ${found.clean.label} to ${became}.`
      : `Broken within ${ball}: the ensemble has no verdict any more.`;
  }
  return `Not broken within the budget: ${name} found nothing within ${ball}. That is not robust: another attack, or more steps, may.`;
}

/** Show a report of /robustness-probe. */
export function showOutcome(found, unit, extra) {
  const broken = found.outcome === "broken", section = $("outcome");
  const label = h("output");
  big(label, broken ? found.adversarial?.label ?? "none" : found.clean.label);
  const figures = h("dl");
  readouts(figures, broken ? ifBroken(found, unit) : ifNot(found, unit));
  section.className = broken ? "broken" : "held";
  section.replaceChildren(...[
    h("h2", { id: "outcome-title" }, sentence(found, unit)),
    extra ? h("p", { className: "quiet" }, extra) : null,
    h("div", { className: "columns" },
      pictures(found, broken),
      h("div", { className: "reading" },
        h("div", { className: "turn", ariaHidden: "true" }, ...turn(found, broken, label)),
        figures),
      h("div", { className: "fates" }, fates(found), ...found.warnings.map((text) => h("p", { className: "quiet" }, `Note: ${text}.`)), details(found))),
  ].filter(Boolean));
  section.hidden = false;
}

export function hideOutcome() {
  $("outcome").hidden = true;
  $("outcome").replaceChildren();
}

const png = (data) => `data:image/png;base64,${data}`;

function turn(found, broken, label) {
  if (!broken) return [label];
  const before = h("output");
  big(before, found.clean.label);
  return [before, h("span", {}, "→"), label];
}

function pictures(found, broken) {
  const times = found.perturbation?.linf ? `×${plain(0.5 / found.perturbation.linf)}` : "none";
  const shown = [["original", "original", found.clean.label]];
  if (broken) {
    shown.push(["perturbation", "change", times], ["adversarial", "adversarial", found.adversarial?.label ?? "none"]);
  }
  return h("div", { className: "trio" }, ...shown.map(([key, words, value]) => {
    const image = h("img", { src: png(found.images[key]), alt: key === "perturbation" ? `The change, magnified ${times}` : `The ${words} picture, seen as ${value}` });
    image.onload = () => image.classList.toggle("pixels", image.naturalWidth <= 128);
    return h("figure", {}, image, h("figcaption", {}, h("span", {}, words), h("b", {}, value)));
  }));
}

function ifBroken(found, unit) {
  const { adversarial, perturbation } = found;
  return [
    ["falls from eps", epsText(found.smallest_eps, unit), "strong"],
    ["confidence", adversarial?.confidence === null ? "–" : percent(adversarial.confidence)],
    ["agreement", adversarial?.agreement === null ? "–" : percent(adversarial.agreement, 0)],
    suspicion(adversarial?.suspicious),
    ["linf · l2", `${plain(perturbation.linf)} · ${plain(perturbation.l2)}`],
    ["pixels changed", count(perturbation.l0)],
    ...(found.confirmed_on_served ? [] : [["confirmed", "no", "alarm"]]),
    ["found in", milliseconds(found.time_ms)],
  ];
}

function ifNot(found) {
  return [
    ["verdicts asked for", count(found.queries)],
    ["gradients", count(found.gradient_calls)],
    ["tried for", milliseconds(found.time_ms)],
  ];
}

function fates(found) {
  const margins = found.members.flatMap((each) => [each.margin_before, each.margin_after]).map((each) => Math.abs(each ?? 0));
  const most = Math.max(...margins, 1e-9);
  const rows = found.members.map((member, index) => {
    const { label_before: before, label_after: after, flipped } = member;
    return h("tr", { className: flipped ? "fell" : "" },
      memberCell(member, index + 1),
      h("td", {}, flipped ? `${before ?? "–"} → ${after ?? "–"}` : before ?? "–"),
      h("td", { className: "measure" }, margin(member, index + 1, most)),
      h("td", { className: "fate" }, flipped ? "fell" : "held"));
  });
  const head = ["Member", "Vote", "Margin, before and after", "Fate"].map((text) => h("th", { scope: "col" }, text));
  return h("table", {}, h("caption", { className: "unseen" }, "Which members fell"), h("thead", {}, h("tr", {}, ...head)), h("tbody", {}, ...rows));
}

/** A margin before (a tick) and after (a bar) on a scale whose middle is 0: left of it the member is wrong. */
function margin(member, index, most) {
  const { margin_before: before, margin_after: after } = member;
  const place = (value) => 50 + (50 * value) / most;
  const scale = h("span", { className: `scale s${index}`, ariaHidden: "true" });
  const ends = after ?? before ?? 0, fill = h("i"), tick = h("b");
  fill.style.left = `${Math.min(50, place(ends))}%`;
  fill.style.width = `${Math.abs(place(ends) - 50)}%`;
  tick.style.left = `${place(before ?? 0)}%`;
  scale.append(fill, tick);
  const words = [before, after].filter((value) => value !== null).map((value) => value.toFixed(1)).join(" → ");
  return h("span", { className: "both" }, scale, h("span", { className: "share" }, words || "–"));
}

function details(found) {
  const { attack } = found;
  const rows = [
    ["threat model", found.threat_model],
    ["attack", `${attack.name}, ${attack.norm} ${plain(attack.eps)}`],
    ["steps", `${attack.steps} of ${plain(attack.step_size)}, ${attack.restarts} start${attack.restarts > 1 ? "s" : ""}${attack.random_start ? ", random" : ""}, seed ${attack.seed}`],
    ["losses", attack.losses.join(", ") || "none"],
    ["asked for", `${count(found.queries)} verdicts, ${count(found.gradient_calls)} gradients`],
    ["budget", milliseconds(attack.budget_ms)],
  ];
  const list = h("dl", { className: "parameters" });
  readouts(list, rows);
  return h("details", {}, h("summary", {}, "All parameters"), list);
}
