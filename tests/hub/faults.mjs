/** Rules that make the hub misbehave; README.md lists what they match and do. */
export class Faults {
  #rules = [];

  set(rules) {
    if (!Array.isArray(rules)) throw new TypeError("faults are an array of rules");
    this.#rules = rules.map((rule) => ({ rule, seen: 0, used: 0 }));
  }

  clear() {
    this.#rules = [];
  }

  /** The first rule that applies to this request, or an empty one. Counts the request for every rule that it matches. */
  take(request) {
    let taken;
    for (const state of this.#rules) {
      if (!matches(state.rule, request)) continue;
      state.seen += 1;
      const { nth, after, times } = state.rule;
      const due =
        (nth === undefined || state.seen === nth) &&
        (after === undefined || state.seen > after) &&
        (times === undefined || state.used < times);
      if (due && taken === undefined) {
        state.used += 1;
        taken = state.rule;
      }
    }
    return taken ?? {};
  }
}

function matches(rule, request) {
  const { host, method, path, file } = request;
  if (rule.when !== undefined && !rule.when(request)) return false;
  if (rule.host !== undefined && rule.host !== host) return false;
  // A browser's preflight is a request that the page didn't write: only a rule that names it gets it.
  if (rule.method === undefined ? method === "OPTIONS" : rule.method !== method) return false;
  if (rule.path === undefined) return true;
  const test = rule.path instanceof RegExp ? (text) => rule.path.test(text) : (text) => text.includes(rule.path);
  return test(path) || (file !== null && test(file));
}
