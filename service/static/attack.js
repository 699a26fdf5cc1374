// The attack: settings, run, and the search for the smallest eps.

import { $, announce, h } from "./dom.js";
import { Chart, reading } from "./chart.js";
import { hideOutcome, sentence, showOutcome } from "./outcome.js";
import { probe } from "./server.js";
import { epsText, parseEps } from "./words.js";

const MOST_MARKS = 60, MOST_SEARCHES = 10, MOST_SEARCH_MS = 20000, CLOSE = 0.03, LONG_S = 4;

/** The panel. `host` gives `picture()`, and takes `failed(trouble, again)` and `worked()`. */
export class Attack {
  #host;
  #facts;
  #bundle;
  #running = null;
  #trail = [];
  #smallest = null;
  #eps;
  #chart = new Chart();

  constructor(host) {
    this.#host = host;
    $("form").onsubmit = (event) => {
      event.preventDefault();
      this.#attempt(() => this.#once());
    };
    $("search").onclick = () => this.#attempt(() => this.#search());
    $("cancel").onclick = () => this.cancel("Cancelled.");
    $("eps").oninput = () => this.#choose(Math.max($("eps").value, $("eps").step));
    $("eps-text").onchange = () => this.#typed();
    $("norm").onchange = () => this.#scale();
    $("kind").onchange = () => this.#kind();
  }

  /** Another bundle: its attacks, its range of eps, and its curve. */
  adapt(bundle, facts) {
    const other = this.#bundle?.name !== bundle.name;
    this.#bundle = bundle;
    this.#facts = facts;
    $("form").inert = false;
    if (other) {
      this.#offer();
      this.#scale();
      this.forget();
    } else this.#draw();
  }

  forget() {
    this.cancel("");
    $("elapsed").textContent = "";
    this.#trail = [];
    this.#smallest = null;
    hideOutcome();
    this.#draw();
  }

  cancel(words) {
    if (!this.#running) return;
    this.#running.abort();
    announce($("elapsed").textContent = words);
  }

  refresh() {
    const idle = !this.#running && this.#host.picture() && this.#facts;
    for (const id of ["go", "search"]) $(id).ariaDisabled = String(!idle);
    $("cancel").hidden = !this.#running;
  }

  #offer() {
    const chosen = $("kind").value || "pgd";
    const option = ({ name, steps }) => h("option", { selected: name === chosen, steps }, name);
    $("kind").replaceChildren(...this.#facts.attacks.map(option));
    this.#kind();
  }

  get #unit() {
    return this.#bundle.input.channels === 3 && $("norm").value === "linf";
  }

  #scale() {
    this.cancel("Cancelled."); // what was found has no place on another norm's scale
    const { default: usual, largest } = this.#facts.eps[$("norm").value];
    const step = this.#unit ? 0.25 / 255 : 10 ** Math.floor(Math.log10(usual / 20));
    Object.assign($("eps"), { min: 0, max: Math.min(largest, 2 * usual), step });
    this.#trail = [];
    this.#smallest = null;
    this.#choose(usual);
  }

  #choose(eps) {
    this.#eps = eps;
    const words = epsText(eps, this.#unit);
    $("eps").value = eps;
    $("eps").setAttribute("aria-valuetext", `eps ${words}`);
    $("eps-text").value = words;
    $("eps-text").setCustomValidity("");
    this.#draw();
  }

  #typed() {
    const eps = parseEps($("eps-text").value), { largest } = this.#facts.eps[$("norm").value];
    if (eps > 0 && eps <= largest) return this.#choose(eps);
    $("eps-text").setCustomValidity(`Eps: expected a number above 0 and up to ${epsText(largest, false)}, or a fraction like 8/255.`);
    this.#draw();
    return announce($("eps-text").validationMessage);
  }

  #kind() {
    this.cancel("Cancelled."); // a search keeps to one attack
    const { called, default: value, largest: max } = $("kind").selectedOptions[0].steps, field = $("steps");
    if (field.defaultValue === String(value)) return;
    $("effort").textContent = called;
    Object.assign(field, { defaultValue: value, value, max, disabled: max === 1 });
  }

  #draw() {
    if (!this.#facts) return;
    const { claim } = this.#facts, unit = this.#unit, eps = this.#eps, wrong = $("eps-text").validationMessage;
    const curve = claim?.norm === $("norm").value ? claim.curve : null;
    const members = this.#bundle.members.map(({ name }) => name);
    this.#chart.show({ curve, members, unit, eps, trail: this.#trail, smallest: this.#smallest, largest: Number($("eps").max) });
    $("curve-of").textContent = curve ? `accuracy against eps, ${claim.norm}, ${curve.n} images` : "";
    const without = claim ? `The report's curve is for ${claim.norm}.` : "No report, so no curve of accuracy against eps.";
    $("at-eps").classList.toggle("alarm", wrong);
    $("at-eps").textContent = wrong || (curve ? reading(curve, eps, unit) : without);
  }

  async #attempt(work) {
    if (!this.#host.picture()) announce($("elapsed").textContent = "First a picture.");
    if (this.#running || $("go").ariaDisabled === "true" || !$("form").reportValidity()) return;
    const controller = new AbortController(), begun = performance.now();
    this.#running = controller;
    this.refresh();
    $("attack").ariaBusy = "true";
    const clock = setInterval(() => {
      const seconds = (performance.now() - begun) / 1000;
      $("elapsed").textContent = `${seconds.toFixed(1)} s${seconds > LONG_S ? ": still at work, or waiting for another" : ""}`;
    }, 100);
    let trouble = null;
    try {
      await work();
    } catch (error) {
      trouble = error;
    }
    clearInterval(clock);
    this.#running = null;
    $("attack").ariaBusy = "false";
    if (!controller.signal.aborted) {
      $("elapsed").textContent = "";
      if (trouble) this.#host.failed(trouble, () => this.#attempt(work));
      else this.#host.worked();
    }
    this.refresh();
  }

  async #at(eps) {
    const query = { bundle: this.#bundle.name, attack: $("kind").value, norm: $("norm").value, eps };
    if (!$("steps").disabled && $("steps").value) query.steps = $("steps").value;
    const found = await probe(this.#host.picture(), query, this.#running.signal);
    const broken = found.outcome === "broken";
    this.#trail = [...this.#trail, { eps, broken }].slice(-MOST_MARKS);
    if (broken) this.#smallest = Math.min(this.#smallest ?? Infinity, found.smallest_eps);
    this.#draw();
    return found;
  }

  async #once() {
    const found = await this.#at(this.#eps);
    this.#present(found, found.outcome === "broken"
      ? `It falls from eps ${epsText(found.smallest_eps, this.#unit)} on along this change; a smaller one may exist.` : "Find smallest eps goes on above it.");
  }

  /** Attack at twice the eps until the vote falls, then between one at which it held and one at which it falls. */
  async #search() {
    const { largest } = this.#facts.eps[$("norm").value], words = (eps) => epsText(eps, this.#unit);
    let low = 0, best = null, found, eps = this.#eps, spent = 0;
    for (let turn = 0; turn < MOST_SEARCHES && spent < MOST_SEARCH_MS; turn++) {
      found = await this.#at(eps);
      spent += found.time_ms;
      if (found.outcome === "broken") best = found;
      else low = eps;
      if (best?.smallest_eps <= low) low = 0; // there the attack had missed it
      if (low >= (best ? (1 - CLOSE) * best.smallest_eps : largest)) break;
      eps = best ? (low + best.smallest_eps) / 2 : Math.min(2 * eps, largest);
    }
    const held = low ? `It held at eps ${words(low)}${best || low === largest ? "" : "; raise eps"}. ` : "";
    this.#present(best ?? found, best ? `Smallest eps found: ${words(best.smallest_eps)}. ${held}A better attack may need less.` : held);
  }

  #present(found, extra) {
    showOutcome(found, this.#unit, extra);
    const fallen = found.members.filter(({ flipped }) => flipped).map(({ name }) => name).join(", ");
    announce(`${sentence(found, this.#unit)} ${found.outcome === "broken" ? `Fallen: ${fallen || "none"}. ` : ""}${extra}`);
    for (const id of ["outcome", "outcome-title"]) $(id).scrollIntoView({ block: "nearest" });
  }
}
