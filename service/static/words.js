// Numbers and refusals in words.

/** A share as per cent; never 100% for what is less, nor 0% for what is more. */
export function percent(share, digits = 1) {
  const unit = 10 ** -digits, shown = 100 * share;
  if (share < 1 && shown > 100 - unit / 2) return `>${(100 - unit).toFixed(digits)}%`;
  if (share > 0 && shown < unit / 2) return `<${unit.toFixed(digits)}%`;
  return `${shown.toFixed(digits)}%`;
}

export function milliseconds(ms) {
  if (ms >= 1000) return `${(ms / 1000).toFixed(1)} s`;
  return `${ms.toFixed(ms < 10 ? 2 : 0)} ms`;
}

export const count = (number) => number.toLocaleString("en");

/** A number as people write it: 0.15, 1.2, 0.0314. */
export const plain = (number) => String(Number(number.toPrecision(3)));

/** eps as the field writes it: in 255ths for colour and linf. */
export const epsText = (eps, in255ths) => (in255ths && eps ? `${Number((255 * eps).toFixed(2))}/255` : plain(eps));

/** The number that somebody wrote, `0.03` or `8/255`; NaN for anything else. */
export function parseEps(text) {
  const parts = text.trim().replace(",", ".").split("/").map((part) => (part.trim() ? Number(part) : NaN));
  return parts.length === 1 ? parts[0] : parts.length === 2 && parts[1] > 0 ? parts[0] / parts[1] : NaN;
}

/** What a bundle withstands, as one sentence. */
export function claim(facts) {
  const found = facts?.claim;
  if (!found) return "No report: what it withstands has not been measured.";
  const { robust, clean, norm, eps, suite } = found;
  const distrust = found.trustworthy ? "" : " Its report failed its own checks: do not rely on it.";
  return `Worst case: right on ${percent(robust.share)} of ${count(robust.n)} images under attack ` +
    `(suite ${suite}, ${norm} ${eps}, 95% interval ${percent(robust.low)} to ${percent(robust.high)}), ` +
    `${percent(clean.share)} without.${distrust}`;
}

const REFUSALS = {
  gone: "The server does not answer. Your picture is kept; the page goes on once it is back.",
  slow: "The server took too long to answer.",
  unknown_bundle: "This bundle is no longer served. Choose another; your picture is kept.",
  queue_full: "The server is busy. Try again in a moment.",
  unavailable: "The server is starting, stopping, or has lost the process that attacks. Try again in a moment.",
  no_quorum: "No verdict: too few members have a vote, and the ensemble does not guess.",
  deadline: "The server gave up: no answer in time.",
  not_an_image: "This is not a picture that the server reads.",
  body_too_large: "This file is too large.",
  internal: "The server failed.",
  page: "This page failed. Load it again.",
};

export const refusal = (trouble) => REFUSALS[trouble.code] ?? "The server refuses this.";
