/**
 * Reads a Range header against a file of `size` bytes.
 *
 * @returns {{start: number, end: number} | "unsatisfiable" | null} inclusive bounds; null where the whole file is to be
 *   sent: no header, a malformed one or several ranges (RFC 9110 lets a server ignore those, and the CDN does).
 */
export function parseRange(header, size) {
  const match = /^bytes=(\d*)-(\d*)$/.exec(header ?? "");
  if (!match || (match[1] === "" && match[2] === "")) return null;
  if (match[1] === "") {
    const length = Math.min(Number(match[2]), size);
    return length === 0 ? "unsatisfiable" : { start: size - length, end: size - 1 };
  }
  const start = Number(match[1]);
  if (match[2] !== "" && Number(match[2]) < start) return null;
  if (start >= size) return "unsatisfiable";
  return { start, end: match[2] === "" ? size - 1 : Math.min(Number(match[2]), size - 1) };
}
