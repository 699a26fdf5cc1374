// The server as the page sees it: three questions, and what may go wrong with each.

const PATIENCE_MS = 20000;

/** Something that did not work: `code` is the server's word for it, or `gone`, `slow`. */
export class Trouble extends Error {
  constructor(code, detail = "", status = 0) {
    super(detail || code);
    Object.assign(this, { code, detail, status });
  }
}

export const bundles = () => ask("bundles");
export const startingFacts = () => ask("page/start.json");
export const report = (name) => ask(`bundles/${encodeURIComponent(name)}/report.json`);
export const alive = () => ask("health/ready").then(() => true, () => false);

/** The verdict on a picture. */
export const predict = (picture, query, signal) => ask("predict", { query, picture, signal });

/** An attack on a picture. It may take long, so it is only ever ended by `signal`. */
export const probe = (picture, query, signal) => ask("robustness-probe", { query, picture, signal, patience: 0 });

async function ask(path, { query = {}, picture, signal, patience = PATIENCE_MS } = {}) {
  const limits = [signal, patience ? AbortSignal.timeout(patience) : null].filter(Boolean);
  const options = picture
    ? { method: "POST", body: picture, headers: { "Content-Type": picture.type || "application/octet-stream" } }
    : {};
  const search = new URLSearchParams(query).toString();
  try {
    const response = await fetch(search ? `${path}?${search}` : path, { ...options, signal: AbortSignal.any(limits) });
    if (response.ok) return await response.json();
    throw await refused(response);
  } catch (error) {
    if (error instanceof Trouble || signal?.aborted) throw error;
    throw error.name === "TimeoutError" ? new Trouble("slow") : new Trouble("gone");
  }
}

async function refused(response) {
  const problem = await response.json().catch(() => ({}));
  const gone = response.status === 502 || (response.status >= 500 && !problem.code);
  return new Trouble(gone ? "gone" : problem.code ?? "", problem.detail ?? "", response.status);
}
