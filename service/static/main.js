// The page: what happens when a picture, a bundle or the mode changes, and when the server refuses.

import { Attack } from "./attack.js";
import { closeOnLeave, showBundle, showBundles } from "./bundles.js";
import { $, announce, h } from "./dom.js";
import { Trouble, alive, bundles, predict, report, startingFacts } from "./server.js";
import { Source, showSamples } from "./source.js";
import { showNoVerdict, showVerdict } from "./verdict.js";
import { refusal } from "./words.js";

const REFUSED_PICTURES = new Set(["not_an_image", "image_too_large", "body_too_large"]);
const KNOCK_MS = 2000;

let served = [], start = {}, bundle = null, asking = null, knocking = false, passing = false;
const reports = new Map(), modes = [...document.getElementsByName("mode")];

const source = new Source((settled) => {
  attack.forget();
  attack.refresh();
  $("trouble").replaceChildren();
  ask(settled);
}, show);
const attack = new Attack({ picture: () => source.picture, failed: fail, worked: calm });

async function begin() {
  const found = await Promise.all([bundles(), startingFacts()]).catch((error) => fail(error, begin));
  if (!found) return;
  [{ bundles: served }, start] = found;
  source.limit = start.max_body_bytes;
  attack.offer(start.attacks);
  if (!mode()) for (const input of modes) input.checked = input.value === start.mode;
  const name = served.some((each) => each.name === bundle?.name) ? bundle.name : found[0].default;
  showBundles(served, start.bundles, choose);
  await choose(name);
  document.body.dataset.ready = "yes";
}

const mode = () => modes.find((input) => input.checked)?.value;

async function choose(name) {
  bundle = served.find((each) => each.name === name);
  showBundle(bundle, start.bundles[name]);
  source.drawable = bundle.input.resize === "digit";
  const key = `${name} ${bundle.version}`;
  study(reports.get(key) ?? null);
  showNoVerdict(bundle);
  if (bundle.report && !reports.has(key)) fetchReport(name, key);
  await ask(true);
}

/** A report, for its curve and pictures; the page does without if it does not come. */
async function fetchReport(name, key) {
  const found = await report(name).catch(() => null);
  if (!found) return;
  reports.set(key, found);
  if (bundle.name === name) study(found);
}

function study(found) {
  attack.adapt(bundle, start.bundles[bundle.name], found);
  attack.refresh();
  const digits = start.samples.map((path) => ({ name: path.replace(/^.*\/|\.png$/g, ""), url: `page/${path}` }));
  const seen = (found?.gallery ?? []).slice(0, 10);
  const pictures = seen.map(({ label, original }) => ({ name: label, url: `data:image/png;base64,${original}` }));
  showSamples(bundle.input.resize === "digit" ? digits : pictures, takeSample);
}

async function takeSample(sample) {
  const { name, url } = sample;
  try {
    const picture = url.startsWith("data:")
      ? new Blob([Uint8Array.from(atob(url.split(",")[1]), (letter) => letter.charCodeAt(0))], { type: "image/png" })
      : await (await fetch(url)).blob();
    await source.take(picture, `sample ${name}`);
  } catch {
    fail(new Trouble("gone"), () => takeSample(sample));
  }
}

/** Ask for the verdict; the answer to the newest question counts. */
async function ask(settled) {
  if (!bundle || (!settled && asking)) return; // while somebody draws, one at a time
  asking?.abort();
  asking = null;
  if (!source.picture) {
    if (settled) showNoVerdict(bundle);
    return;
  }
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
    if (!asking) $("verdict").ariaBusy = "false";
  }
}

async function refused(trouble) {
  if (REFUSED_PICTURES.has(trouble.code) && (await source.restore())) return show(trouble);
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
  const button = (text, action) => h("button", { type: "button", onclick: action }, text);
  passing = retry !== null;
  $("trouble").replaceChildren(
    h("p", {}, refusal(known), known.detail ? h("small", {}, known.detail) : null),
    ...(retry ? [button("Try again", retry)] : []),
    button("Dismiss", () => $("trouble").replaceChildren()),
  );
}

function calm() {
  if (passing) $("trouble").replaceChildren();
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
