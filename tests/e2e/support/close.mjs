import assert from "node:assert/strict";

/**
 * How far outputs may be from torch's float32, in units of how far torch's own float16 was when the goldens were made.
 * Both errors are rounding noise of the same size (weights and cache in float16) through a network that amplifies it, so
 * their largest values are two draws of one distribution: torch's own draw moved by a third from one machine to another.
 */
const TOLERANCE = 2;

/** Asserts that outputs are torch's, whose own float16 was at most `f16_off` off; gives words on how far they were. */
export function assertClose(got, expected, f16_off) {
  const limit = TOLERANCE * f16_off;
  assert.equal(got.length, expected.length);
  const off = expected.map((value, i) => Math.abs(got[i] - value));
  const worst = Math.max(...off);
  assert.ok(off.every(Number.isFinite) && worst <= limit, `outputs are off by ${worst}, torch's f16 by ${f16_off}`);
  return `off by ${worst.toExponential(2)}; torch's f16 by ${f16_off.toExponential(2)}`;
}

/** What generate gives after a golden's prompt with a stop at the end of the text. */
export const newIds = ({ new_ids, eos_at }) => (eos_at === null ? new_ids : new_ids.slice(0, eos_at + 1));
