const UNITS = ["B", "kB", "MB", "GB", "TB"];

/** Bytes in decimal units, three digits or so: "7.08 MB". */
export function bytes(n: number): string {
  let unit = 0;
  let value = n;
  while (value >= 999.5 && unit < UNITS.length - 1) {
    value /= 1000;
    unit++;
  }
  const digits = unit === 0 || value >= 100 ? 0 : value >= 10 ? 1 : 2;
  return `${value.toFixed(digits)} ${UNITS[unit]}`;
}

/** Milliseconds as seconds: "0.42 s". */
export function seconds(ms: number): string {
  return `${(ms / 1000).toFixed(ms < 10_000 ? 2 : 1)} s`;
}

export function rate(tokens_per_second: number): string {
  return `${tokens_per_second.toFixed(tokens_per_second < 10 ? 2 : 1)} tokens/s`;
}
