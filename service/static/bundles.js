// The menu of bundles: what each is, and what it withstands.

import { $, h, precision } from "./dom.js";
import { claim, percent } from "./words.js";

/** Fill the menu; `chosen` gets the name of the bundle that somebody picks. */
export function showBundles(bundles, facts, chosen) {
  const cards = bundles.map((bundle) => card(bundle, facts[bundle.name], chosen));
  $("choices").replaceChildren($("choices").firstElementChild, ...cards);
}

/** The bundle at work: its name in the menu, its plate, and the way to its report. */
export function showBundle(bundle, facts) {
  $("chosen").textContent = bundle.name;
  for (const input of $("choices").querySelectorAll("input")) input.checked = input.value === bundle.name;
  const words = [bundle.description, claim(facts)].filter(Boolean);
  $("plate").replaceChildren(...words.map((text) => h("span", {}, text)));
  $("report").hidden = !bundle.report;
  if (bundle.report) $("report").href = bundle.report.replace(/^\//, "");
}

/** Let the menu close as menus do. */
export function closeOnLeave() {
  const menu = $("menu");
  document.addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || !menu.open) return;
    menu.open = false;
    menu.firstElementChild.focus();
  });
  document.addEventListener("pointerdown", (event) => {
    if (!menu.contains(event.target)) menu.open = false;
  });
}

function card(bundle, facts, chosen) {
  const input = h("input", { type: "radio", name: "bundle", value: bundle.name });
  input.onchange = () => chosen(bundle.name);
  input.onkeydown = (event) => {
    if (event.key === "Enter") $("menu").open = false;
  };
  const { channels, height, width } = bundle.input;
  const about = [
    bundle.members.map(precision).join(" + "),
    `${bundle.labels.length} classes`,
    `${height} × ${width}${channels === 3 ? " colour" : ""}`,
    bundle.clean_accuracy ? `${percent(bundle.clean_accuracy)} clean` : "",
  ];
  return h("label", { className: "card" }, input,
    h("span", {},
      h("b", {}, bundle.name),
      bundle.description ? h("span", {}, bundle.description) : null,
      h("small", {}, about.filter(Boolean).join(" · ")),
      h("small", {}, claim(facts))));
}
