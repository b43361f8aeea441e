/**
 * Texts that overlap, each the end of one and the beginning of the next, as one text: transformers'
 * `_find_longest_common_sequence`. Where they differ, the first half of the overlap is the left one's, the rest the right
 * one's. At least two ids must be the same at the same place for an overlap to be seen.
 */
export function merge_sequences(sequences: readonly (readonly number[])[]): number[] {
  let [left = [], ...rest] = sequences;
  const total: number[] = [];
  for (const right of rest) {
    const { left_middle, right_start } = overlap(left, right);
    for (const id of left.slice(0, left_middle)) total.push(id);
    left = right.slice(right_start);
  }
  for (const id of left) total.push(id);
  return total;
}

/** Where the left text is left and the right one goes on. */
function overlap(left: readonly number[], right: readonly number[]): { left_middle: number; right_start: number } {
  let best = 0;
  let found = { left_middle: left.length, right_start: 0 };
  // The right text slides over the left one, from its end on.
  for (let shift = 1; shift < left.length + right.length; shift++) {
    const [left_start, left_stop] = [
      Math.max(0, left.length - shift),
      Math.min(left.length, left.length + right.length - shift),
    ];
    const [right_start, right_stop] = [Math.max(0, shift - left.length), Math.min(right.length, shift)];
    let matches = 0;
    for (let i = 0; i < left_stop - left_start; i++) {
      if (left[left_start + i] === right[right_start + i]) matches++;
    }
    // A long perfect match goes before a short one.
    const matching = matches / shift + shift / 10_000;
    if (matches > 1 && matching > best) {
      best = matching;
      found = {
        left_middle: Math.floor((left_start + left_stop) / 2),
        right_start: Math.floor((right_start + right_stop) / 2),
      };
    }
  }
  return found;
}
