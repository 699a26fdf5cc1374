// The verdict, and each member's vote as a bar.

import { $, announce, bar, h, memberCell } from "./dom.js";
import { milliseconds, percent } from "./words.js";

const ABSENT = { skipped: "not asked", error: "failed", nonfinite: "no number", deadline: "too late" };

/** Show an answer of /predict; `spoken` when it is not one of many while somebody draws. */
export function showVerdict(answer, bundle, spoken) {
  big($("label"), answer.label);
  const asked = answer.members.filter(({ status }) => status !== "skipped");
  const agreement = `${asked.filter(({ label }) => label === answer.label).length} of ${asked.length}`;
  readouts($("readouts"), [
    ["confidence", percent(answer.confidence)],
    ["agreement", agreement],
    suspicion(answer.suspicious),
    ["answered in", milliseconds(answer.latency_ms.total)],
  ]);
  showVotes(answer.members, bundle, answer.label);
  $("note").replaceChildren(...notes(answer, bundle).flatMap((note) => [note, " "]));
  if (spoken) announce(`Verdict ${answer.label}, confidence ${percent(answer.confidence)}, ${agreement} agree. ${$("note").textContent}`);
}

export function showNoVerdict(bundle) {
  big($("label"), "");
  readouts($("readouts"), ["confidence", "agreement", "suspicious", "answered in"].map((name) => [name, "–"]));
  showVotes(bundle.members.map((member) => ({ ...member, status: "" })), bundle);
  $("note").replaceChildren();
}

/** A label as large as its longest word allows, and that of `others` beside it. */
export function big(element, label, ...others) {
  const letters = [label, ...others].flatMap((each) => [each.length / 3, ...each.split(/[\s-]/).map((word) => word.length)]);
  element.textContent = label;
  element.style.setProperty("--letters", Math.max(...letters));
  return element;
}

export function readouts(list, rows) {
  const shown = rows.map(([name, value, className = ""]) => h("div", { className }, h("dt", {}, name), h("dd", {}, value)));
  list.replaceChildren(...shown);
  return list;
}

export function suspicion(suspicious) {
  if (suspicious == null) return ["suspicious", "not known"];
  return suspicious ? ["suspicious", "yes", "alarm"] : ["suspicious", "no"];
}

function showVotes(members, bundle, verdict) {
  $("votes").tBodies[0].replaceChildren(...members.map((member, index) => row(member, index, bundle, verdict)));
}

function row(member, index, bundle, verdict) {
  const { name, status, label, confidence, latency_ms: ms } = member, voted = status === "ok";
  const role = name === bundle.vote.tie_breaker && bundle.members.length > 1 ? "breaks ties" : "";
  return h("tr", { className: voted ? (label === verdict ? "" : "dissents") : status },
    memberCell(member, index + 1, role),
    h("td", {}, voted ? label : "–"),
    h("td", { className: "measure" },
      bar(voted ? confidence : 0, index + 1, ABSENT[status] ? "absent" : ""),
      h("span", { className: "share" }, voted ? percent(confidence) : ABSENT[status] ?? "–")),
    h("td", { className: "number" }, voted ? milliseconds(ms) : "–"));
}

function notes(answer, bundle) {
  const found = [], named = (which) => answer.members.filter(which).map(({ name }) => name).join(" and ");
  const skipped = named(({ status }) => status === "skipped");
  if (answer.degraded) {
    const missing = named(({ status }) => !["ok", "skipped"].includes(status));
    found.push(h("span", { className: "alarm" }, `Degraded: ${missing} has no vote.`));
  }
  if (skipped) found.push(`Quorum: ${skipped} could not have changed the verdict and was not asked.`);
  else if (answer.mode === "quorum" && !answer.degraded) found.push("Quorum: every vote was needed.");
  const most = Math.max(...Object.values(answer.votes));
  if (bundle.vote.rule === "average") found.push("The verdict is the members' mean probability.");
  else if (2 * most <= answer.members.length) found.push(`No class has a majority: ${bundle.vote.tie_breaker} decides.`);
  return found;
}
