// The server as the page sees it: three questions, and what may go wrong with each.

const PATIENCE_MS = 20000;

/** Something that did not work: `code` is the server's word for it, or `gone`, `slow`. */
export class Trouble extends Error {
  constructor(code, detail = "") {
    super(detail || code);
    Object.assign(this, { code, detail });
  }
}

export const bundles = () => ask("bundles");
export const startingFacts = () => ask("page/start.json");
export const alive = () => ask("health/ready").then(() => true, () => false);

export const predict = (picture, query, signal) => ask("predict", { query, picture, signal });

/** An attack on a picture. It may take long, so it is only ever ended by `signal`. */
export const probe = (picture, query, signal) => ask("robustness-probe", { query, picture, signal, patience: 0 });

async function ask(path, { query = {}, picture, signal, patience = PATIENCE_MS } = {}) {
  const limits = [signal, patience && AbortSignal.timeout(patience)].filter(Boolean);
  const headers = { "Content-Type": picture?.type || "application/octet-stream" };
  const options = picture && { method: "POST", body: picture, headers };
  try {
    const response = await fetch(`${path}?${new URLSearchParams(query)}`, { ...options, signal: AbortSignal.any(limits) });
    if (response.ok) return await response.json();
    throw await refused(response);
  } catch (error) {
    if (error instanceof Trouble || signal?.aborted) throw error;
    throw new Trouble(error.name === "TimeoutError" ? "slow" : "gone");
  }
}

async function refused(response) {
  const problem = await response.json().catch(() => ({}));
  const gone = response.status === 502 || (response.status >= 500 && !problem.code);
  return new Trouble(gone ? "gone" : problem.code ?? "", problem.detail);
}
