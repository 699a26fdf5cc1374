// The attack: its settings, its run, the search for the smallest eps.

import { $, announce, h } from "./dom.js";
import { Chart, reading } from "./chart.js";
import { hideOutcome, sentence, showOutcome } from "./outcome.js";
import { probe } from "./server.js";
import { epsText, parseEps } from "./words.js";

const MOST_MARKS = 60, MOST_SEARCHES = 10, CLOSE = 0.03, LONG_S = 4;

/** The panel. `host` gives `picture()` and `bundle()`, and takes `failed(trouble, again)` and `worked()`. */
export class Attack {
  #host;
  #facts = null;
  #report = null;
  #bundle = null;
  #running = null;
  #trail = [];
  #smallest = null;
  #eps = 0;
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

  /** The server's attacks. */
  offer(attacks) {
    const chosen = $("kind").value || "pgd";
    $("kind").replaceChildren(...attacks.map(({ name, one_step: oneStep }) => h("option", { value: name, "data-one": oneStep ? "1" : "" }, name)));
    $("kind").value = attacks.some(({ name }) => name === chosen) ? chosen : attacks[0].name;
    this.#kind();
  }

  /** Another bundle: its range of eps, and its curve as soon as `report` is there. */
  adapt(bundle, facts, report) {
    const other = this.#bundle?.name !== bundle.name;
    this.#bundle = bundle;
    this.#facts = facts;
    this.#report = report;
    if (other) {
      this.forget();
      this.#scale();
    } else this.#draw();
  }

  /** Another picture: what was found for the last one is of no use. */
  forget() {
    this.cancel("");
    this.#trail = [];
    this.#smallest = null;
    hideOutcome();
    this.#draw();
  }

  cancel(words) {
    if (!this.#running) return;
    this.#running.abort();
    $("elapsed").textContent = words;
    if (words) announce(words);
  }

  /** Whether there is something to attack. */
  refresh() {
    const blind = this.#facts && !this.#facts.attackable;
    const idle = !this.#running && this.#host.picture() && this.#facts && !blind;
    for (const id of ["go", "search"]) $(id).ariaDisabled = String(!idle);
    $("cancel").hidden = !this.#running;
    if (blind) $("elapsed").textContent = "This bundle has no gradient graphs: it cannot be attacked here.";
    else if ($("elapsed").textContent.startsWith("This bundle")) $("elapsed").textContent = "";
  }

  get #unit() {
    return this.#bundle.input.channels === 3 && $("norm").value === "linf";
  }

  #scale() {
    if (!this.#facts) return;
    const { default: usual, largest } = this.#facts.eps[$("norm").value], unit = this.#unit;
    const top = Math.min(largest, 2 * usual), slider = $("eps");
    const power = 10 ** Math.floor(Math.log10(usual / 60)), ratio = usual / 60 / power;
    const step = unit ? 0.25 / 255 : power * [1, 2, 5, 10].find((each) => each >= ratio * 0.99);
    Object.assign(slider, { min: 0, max: top, step });
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
    $("eps-text").removeAttribute("aria-invalid");
    this.#draw();
  }

  #typed() {
    const eps = parseEps($("eps-text").value), { largest } = this.#facts.eps[$("norm").value];
    if (eps > 0 && eps <= largest) return this.#choose(eps);
    $("eps-text").setAttribute("aria-invalid", "true");
    return announce(`Eps: expected a number above 0 and up to ${epsText(largest, false)}, or a fraction like 8/255.`);
  }

  #kind() {
    $("steps").disabled = $("kind").selectedOptions[0]?.dataset.one === "1";
  }

  #draw() {
    if (!this.#facts) return;
    const report = this.#report, unit = this.#unit;
    const curve = report && report.norm === $("norm").value ? report.curve : null;
    const members = this.#bundle.members.map(({ name }) => name);
    this.#chart.show({
      ...{ curve, members, unit, eps: this.#eps, trail: this.#trail, smallest: this.#smallest },
      largest: Number($("eps").max),
    });
    $("curve-of").textContent = curve ? `accuracy against eps, ${report.norm}, ${curve.n} images` : "";
    $("at-eps").textContent = curve ? reading(curve, this.#eps, unit)
      : report ? `The report's curve is for ${report.norm}.` : "No report, so no curve of accuracy against eps.";
  }

  async #attempt(work) {
    if (this.#running || $("go").ariaDisabled === "true") return;
    if ($("eps-text").ariaInvalid === "true" || !$("form").reportValidity()) return $("eps-text").focus();
    const controller = new AbortController(), { signal } = controller, begun = performance.now();
    this.#running = controller;
    this.refresh();
    $("attack").ariaBusy = "true";
    const tick = () => {
      const seconds = (performance.now() - begun) / 1000;
      $("elapsed").textContent = `${seconds.toFixed(1)} s${seconds > LONG_S ? ": still at work, or waiting for another attack to end" : ""}`;
    };
    const clock = setInterval(tick, 100);
    try {
      await work();
      if (!signal.aborted) this.#host.worked();
      $("elapsed").textContent = "";
    } catch (error) {
      if (!signal.aborted) {
        $("elapsed").textContent = "";
        this.#host.failed(error, () => this.#attempt(work));
      }
    } finally {
      clearInterval(clock);
      this.#running = null;
      $("attack").ariaBusy = "false";
      this.refresh();
    }
    return undefined;
  }

  /** One attack at `eps`. */
  async #at(eps) {
    const { signal } = this.#running, query = { bundle: this.#bundle.name, attack: $("kind").value, norm: $("norm").value, eps };
    if (!$("steps").disabled && $("steps").value) query.steps = $("steps").value;
    const found = await probe(this.#host.picture(), query, signal);
    const broken = found.outcome === "broken";
    this.#trail = [...this.#trail, { eps, broken }].slice(-MOST_MARKS);
    if (broken) this.#smallest = Math.min(this.#smallest ?? Infinity, found.smallest_eps);
    this.#draw();
    return found;
  }

  async #once() {
    this.#present(await this.#at(this.#eps));
  }

  /** Attack at smaller and smaller eps: between one at which the vote held and one at which it falls. */
  async #search() {
    let low = 0, best = null, found = await this.#at(this.#eps);
    for (let turn = 1; found.outcome === "broken" || best; turn++) {
      if (found.outcome === "broken") best = found;
      else low = found.attack.eps;
      if (turn === MOST_SEARCHES || best.smallest_eps - low < CLOSE * best.smallest_eps) break;
      found = await this.#at((low + best.smallest_eps) / 2);
    }
    if (!best) return this.#present(found);
    const held = low ? `it held at ${epsText(low, this.#unit)}` : "it held nowhere";
    return this.#present(best, `Smallest eps found: ${epsText(best.smallest_eps, this.#unit)}; ${held}. A better attack may need less.`);
  }

  #present(found, extra = "") {
    const unit = this.#unit;
    const broken = found.outcome === "broken", falls = broken && epsText(found.smallest_eps, unit);
    const along = `It falls from eps ${falls} on along the change that was found; a smaller one may exist.`;
    showOutcome(found, unit, extra || (broken ? along : ""));
    const fallen = found.members.filter((member) => member.flipped).map(({ name }) => name);
    const fates = broken ? ` Fallen: ${fallen.join(", ") || "none"}.` : "";
    announce(`${sentence(found, unit)}${fates} ${extra}`);
    const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
    $("outcome").scrollIntoView({ block: "nearest", behavior: calm ? "auto" : "smooth" });
  }
}
