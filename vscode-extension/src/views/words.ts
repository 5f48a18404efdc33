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

/** The time of day, and before it the day where that is another one: `9:05`, `Nov 21, 9:05`. Does not change while it is looked at. */
export function moment(at: Date, now: Date): string {
  const time = `${at.getHours()}:${String(at.getMinutes()).padStart(2, '0')}`;
  if (at.toDateString() === now.toDateString()) return time;
  return `${at.toLocaleDateString('en', { month: 'short', day: 'numeric' })}, ${time}`;
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

/** The theme's colour of a state. */
export function colorOf(state: string): string {
  if (state === 'active' || state === 'ready') return 'charts.green';
  return state === 'lost' ? 'charts.red' : 'charts.yellow';
}
