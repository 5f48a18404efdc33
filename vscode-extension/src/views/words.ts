// Amounts and times for people.

const UNITS = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];

/** `0 B`, `1.5 KiB`, `12 MiB`. */
export function bytes(amount: number): string {
  let unit = 0;
  let value = amount;
  while (value >= 1024 && unit < UNITS.length - 1) {
    value /= 1024;
    unit++;
  }
  const digits = unit > 0 && value < 10 ? 1 : 0;
  return `${value.toFixed(digits)} ${UNITS[unit]}`;
}

/** `5 s`, `3 min`, `2 h 5 min`, `4 d`. */
export function span(ms: number): string {
  const seconds = Math.max(0, Math.floor(ms / 1000));
  if (seconds < 60) return `${seconds} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes} min`;
  const hours = Math.floor(minutes / 60);
  if (hours < 48) return minutes % 60 === 0 ? `${hours} h` : `${hours} h ${minutes % 60} min`;
  return `${Math.floor(hours / 24)} d`;
}

/** A local address, where rows are narrow: `:8080`. */
export function short(address: string): string {
  return address.replace(/^127\.0\.0\.1(?=:\d+$)/, '');
}

/** `1 flow`, `2 flows`. */
export function count(amount: number, one: string): string {
  return `${amount} ${amount === 1 ? one : `${one}s`}`;
}

/** A state, as it is said in a row. */
const STATES: Readonly<Record<string, string>> = {
  connecting: 'connecting',
  ready: 'ready',
  starting: 'starting',
  active: 'active',
  degraded: 'disturbed',
  pass_through: 'passing through to the original',
  closing: 'stopping',
  closed: 'stopped',
  lost: 'lost',
};

export function stateWord({ state, reason }: { readonly state: string; readonly reason?: string }): string {
  const word = STATES[state] ?? state;
  return reason === undefined ? word : `${word}: ${reason}`;
}
