// The verdict, and each member's vote as a bar.

import { $, announce, bar, h, memberCell } from "./dom.js";
import { milliseconds, percent } from "./words.js";

const ABSENT = {
  skipped: "not asked",
  error: "failed",
  nonfinite: "no number",
  deadline: "too late",
};

/** Show an answer of /predict; `spoken` when it is not one of many while somebody draws. */
export function showVerdict(answer, bundle, spoken) {
  $("verdict").classList.remove("empty");
  big($("label"), answer.label);
  const asked = answer.members.filter((member) => member.status !== "skipped");
  const agreeing = asked.filter((member) => member.label === answer.label);
  readouts($("readouts"), [
    ["confidence", percent(answer.confidence)],
    ["agreement", `${agreeing.length} of ${asked.length}`],
    suspicion(answer.suspicious),
    ["answered in", milliseconds(answer.latency_ms.total)],
  ]);
  $("votes").tBodies[0].replaceChildren(
    ...answer.members.map((member, index) => row(member, index, bundle, answer.label)),
  );
  $("note").replaceChildren(...notes(answer, bundle));
  if (spoken) {
    const words = `Verdict ${answer.label}, confidence ${percent(answer.confidence)}, ${agreeing.length} of ${asked.length} agree.`;
    announce(words + [...$("note").children].map((each) => ` ${each.textContent}`).join(""));
  }
}

/** No picture, no verdict; the members are shown all the same. */
export function showNoVerdict(bundle) {
  $("verdict").classList.add("empty");
  big($("label"), "");
  readouts($("readouts"), ["confidence", "agreement", "suspicious", "answered in"].map((name) => [name, "–"]));
  $("votes").tBodies[0].replaceChildren(
    ...bundle.members.map((member, index) => row({ ...member, status: "–" }, index, bundle)),
  );
  $("note").replaceChildren();
}

/** A label as large as its length allows. */
export function big(element, label) {
  element.textContent = label;
  element.className = label.length > 12 ? "longest" : label.length > 3 ? "long" : "";
}

/** A list of names and values, `[name, value, class]`. */
export function readouts(list, rows) {
  list.replaceChildren(
    ...rows.map(([name, value, kind = ""]) => h("div", { className: kind }, h("dt", {}, name), h("dd", {}, value))),
  );
}

/** Whether an answer is suspicious, as a row of readouts. */
export function suspicion(suspicious) {
  if (suspicious === null || suspicious === undefined) return ["suspicious", "not known"];
  return suspicious ? ["suspicious", "yes", "alarm"] : ["suspicious", "no"];
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
  const found = [], named = (status) => answer.members.filter(status).map((member) => member.name).join(" and ");
  const skipped = named((member) => member.status === "skipped");
  if (answer.degraded) {
    const missing = named((member) => !["ok", "skipped"].includes(member.status));
    found.push(h("span", { className: "alarm" }, `Degraded: ${missing} has no vote.`));
  }
  if (skipped) found.push(h("span", {}, `Quorum: ${skipped} could not have changed the verdict and was not asked.`));
  else if (answer.mode === "quorum" && !answer.degraded) found.push(h("span", {}, "Quorum: every vote was needed."));
  const most = Math.max(...Object.values(answer.votes));
  if (bundle.vote.rule === "average") found.push(h("span", {}, "The verdict is the members' mean probability."));
  else if (2 * most <= answer.members.length) {
    found.push(h("span", {}, `No class has a majority: ${bundle.vote.tie_breaker} decides.`));
  }
  return found;
}
