// The page: what happens when a picture, a bundle or the mode changes, and when the server refuses.

import { Attack } from "./attack.js";
import { closeOnLeave, showBundle, showBundles } from "./bundles.js";
import { $, announce, h } from "./dom.js";
import { Trouble, alive, bundles, predict, startingFacts } from "./server.js";
import { Source, showSamples } from "./source.js";
import { showNoVerdict, showVerdict } from "./verdict.js";
import { refusal } from "./words.js";

const KNOCK_MS = 2000;

const modes = [...document.getElementsByName("mode")];
const mode = () => modes.find(({ checked }) => checked)?.value;
const quiet = () => $("trouble").replaceChildren();
let served = [], start = {}, bundle = null, asking = null, knocking = false, passing = false, blank = false;

const source = new Source((settled) => {
  attack.forget();
  attack.refresh();
  quiet();
  ask(settled);
}, show);
const attack = new Attack({ picture: () => !blank && source.picture, failed: fail, worked: calm });

async function begin() {
  const found = await Promise.all([bundles(), startingFacts()]).catch((error) => fail(error, begin));
  if (!found) return;
  [{ bundles: served }, start] = found;
  source.limit = start.max_body_bytes;
  if (!mode()) for (const input of modes) input.checked = input.value === start.mode;
  const wanted = bundle?.name ?? location.hash.slice(1), there = served.some(({ name }) => name === wanted);
  showBundles(served, start.bundles, (name) => {
    history.replaceState(null, "", `#${name}`); // for the next time that the page is loaded
    choose(name);
  });
  await choose(there ? wanted : found[0].default);
  document.body.dataset.ready = "yes";
}

async function choose(name) {
  bundle = served.find((each) => each.name === name);
  const facts = start.bundles[name];
  showBundle(bundle, facts);
  source.fit(bundle.input);
  attack.adapt(bundle, facts);
  attack.refresh();
  showSamples(facts.samples, takeSample);
  showNoVerdict(bundle);
  await ask(true);
}

async function takeSample(sample) {
  const picture = await fetch(sample.url).then((response) => response.ok && response.blob(), () => null);
  if (picture) source.take(picture, `sample ${sample.name}`);
  else fail(new Trouble("gone"), () => takeSample(sample));
}

/** Ask for the verdict; the answer to the newest question counts. */
async function ask(settled) {
  if (!bundle || (!settled && asking)) return; // while somebody draws, one at a time
  asking?.abort();
  asking = null;
  blank = false;
  if (!source.picture) return settled && showNoVerdict(bundle);
  const mine = (asking = new AbortController());
  $("verdict").ariaBusy = "true";
  try {
    const answer = await predict(source.picture, { bundle: bundle.name, mode: mode() }, mine.signal);
    if (mine.signal.aborted) return;
    source.accepted();
    showVerdict(answer, bundle, settled);
    calm();
  } catch (error) {
    if (!mine.signal.aborted) await refused(error);
  } finally {
    if (asking === mine) asking = null;
    $("verdict").ariaBusy = String(asking !== null);
    attack.refresh();
  }
}

async function refused(trouble) {
  blank = trouble.detail?.includes("without any ink");
  if (blank) {
    showNoVerdict(bundle);
    return announce($("note").textContent = "This picture is blank: draw a digit, or take another picture.");
  }
  if (/_too_large|not_an_image/.test(trouble.code) && (await source.restore())) return show(trouble);
  showNoVerdict(bundle);
  return fail(trouble, () => ask(true));
}

/** Show a trouble, and do what helps: knock at a server that is gone, read the list again if a bundle is. */
function fail(trouble, retry) {
  show(trouble, retry);
  if (trouble.code === "gone") knock();
  if (trouble.code === "unknown_bundle") begin().then(() => show(trouble));
}

/** Say what went wrong. What can be tried again passes as soon as something works, the rest with the next picture. */
function show(trouble, retry = null) {
  const known = trouble instanceof Trouble ? trouble : new Trouble("page", String(trouble));
  const button = (text, onclick) => h("button", { type: "button", onclick }, text);
  passing = retry !== null;
  $("trouble").replaceChildren(
    h("p", {}, refusal(known), known.detail && h("small", {}, known.detail)),
    ...(retry ? [button("Try again", retry)] : []),
    button("Dismiss", quiet),
  );
}

function calm() {
  if (passing) quiet();
}

/** Ask every two seconds whether the server is back, one question at a time. */
async function knock() {
  if (knocking) return;
  knocking = true;
  do await new Promise((done) => setTimeout(done, KNOCK_MS));
  while (!(await alive()));
  knocking = false;
  calm();
  announce("The server is back.");
  begin();
}

for (const input of modes) input.onchange = () => ask(true);
closeOnLeave();
begin();
