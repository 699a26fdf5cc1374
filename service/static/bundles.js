// The menu of bundles: what each is, and what it withstands.

import { $, h, precision } from "./dom.js";
import { claim, percent } from "./words.js";

const WAYS = { members: "members run side by side", requests: "members run one after another" };

export function showBundles(bundles, facts, chosen) {
  const cards = bundles.map((bundle) => card(bundle, facts[bundle.name], chosen));
  $("choices").replaceChildren($("choices").firstElementChild, ...cards);
}

/** The bundle at work: its name in the menu, its plate, and the way to its report. */
export function showBundle(bundle, facts) {
  $("chosen").textContent = bundle.name;
  for (const input of $("choices").querySelectorAll("input")) input.checked = input.value === bundle.name;
  $("plate").textContent = [bundle.description, claim(facts)].filter(Boolean).join(" ");
  $("report").hidden = !bundle.report;
  if (bundle.report) $("report").href = bundle.report.replace(/^\//, "");
}

export function closeOnLeave() {
  document.onkeydown = ({ key }) => void (key === "Escape" && $("menu").open && leave());
  document.onpointerdown = ({ target }) => void ($("menu").contains(target) || ($("menu").open = false));
}

function leave() {
  $("menu").open = false;
  $("menu").firstElementChild.focus();
}

function card(bundle, facts, chosen) {
  const { name, description, input: { channels, height, width } } = bundle;
  const onkeydown = ({ key }) => void (key === "Enter" && leave());
  const input = h("input", { type: "radio", name: "bundle", value: name, onchange: () => chosen(name), onkeydown });
  const about = [
    bundle.members.map(precision).join(" + "),
    `${bundle.labels.length} classes`,
    `${height} × ${width}${channels === 3 ? " colour" : ""}`,
    bundle.clean_accuracy && `${percent(bundle.clean_accuracy)} clean`,
    `on ${[...new Set(bundle.members.map(({ engine }) => engine))].join(" and ")}`,
    WAYS[bundle.concurrency.chosen],
  ];
  const onclick = ({ detail }) => void (detail && leave()); // 0 for arrow keys, which go on choosing
  return h("label", { className: "card", onclick }, input,
    h("span", {},
      h("b", {}, name),
      description && h("span", {}, description),
      h("small", {}, about.filter(Boolean).join(" · ")),
      h("small", {}, claim(facts))));
}
