// What the page of the traffic panel shows of its rows: filter, words, and which of them are in sight. Pure.

import { bytes } from '../views/words.js';
import type { ToPage } from './messages.js';
import { FlowTable, type FlowRow, type Name } from './table.js';

export const COLUMNS = ['Time', 'Service', 'From', 'To', 'In', 'Out', 'Duration', 'End'] as const;

export class FlowView {
  readonly #table = new FlowTable();
  #names = new Map<string, string>();
  #forgotten = 0;
  /** When it was paused. */
  #paused: number | undefined;
  #filter = '';
  #only = '';
  /** Those that the filter lets through; made anew when something changed. */
  #rows: readonly FlowRow[] | undefined;
  #total = 0;
  #open = 0;

  take(message: Exclude<ToPage, { type: 'only' }>): void {
    if (message.names !== undefined) this.#names = new Map(message.names.map(({ key, label }) => [key, label]));
    this.#forgotten = message.forgotten;
    if (message.type === 'all') {
      this.#paused = message.paused ? message.now : undefined;
      this.#table.reset(message.rows);
    } else {
      this.#table.put(message.rows);
    }
    this.#rows = undefined;
  }

  get paused(): boolean {
    return this.#paused !== undefined;
  }

  get names(): readonly Name[] {
    return [...this.#names].map(([key, label]) => ({ key, label }));
  }

  /** Words of which each has to be in a row. */
  set filter(text: string) {
    this.#filter = text;
    this.#rows = undefined;
  }

  /** A name's key, or what those of a session begin with. Empty: all. */
  set only(key: string) {
    this.#only = key;
    this.#rows = undefined;
  }

  get rows(): readonly FlowRow[] {
    this.#rows ??= this.#filtered();
    return this.#rows;
  }

  /** `2 open, 1,990 ended`, with what is not shown of them. */
  get summary(): string {
    const shown = this.rows.length;
    const parts = [`${number(this.#open)} open, ${number(this.#total - this.#open)} ended`];
    if (shown < this.#total) parts.push(`${number(shown)} shown`);
    if (this.#forgotten > 0) parts.push(`${number(this.#forgotten)} older not kept`);
    if (this.paused) parts.push('paused');
    return parts.join(' · ');
  }

  /** Instead of rows, where there are none. */
  get empty(): string {
    if (this.rows.length > 0) return '';
    if (this.#total > 0) return 'Nothing matches the filter.';
    return 'Nothing has come or gone yet. Exchange or forward a Service, and its connections are listed here.';
  }

  /** A row in words, by the extension host's clock. */
  cells(row: FlowRow, now: number): string[] {
    const { handle, began, from, to, received, sent, end } = row;
    const took = end?.took ?? Math.max(0, (this.#paused ?? now) - began);
    return [clock(began), this.#names.get(handle) ?? '', from, to, bytes(received), bytes(sent), duration(took), end?.text ?? 'open'];
  }

  #filtered(): FlowRow[] {
    const all = this.#table.rows;
    this.#total = all.length;
    this.#open = all.reduce((open, { end }) => open + (end === undefined ? 1 : 0), 0);
    const words = this.#filter.toLowerCase().split(/\s+/).filter((word) => word !== '');
    if (words.length === 0 && this.#only === '') return all;
    return all.filter((row) => {
      if (this.#only !== '' && row.handle !== this.#only && !(this.#only.endsWith('.') && row.handle.startsWith(this.#only))) return false;
      const text = `${this.#names.get(row.handle) ?? ''} ${row.from} ${row.to} ${row.end?.text ?? 'open'}`.toLowerCase();
      return words.every((word) => text.includes(word));
    });
  }
}

/** The rows in sight, of so many: the first, and one behind the last. Some more on either side, for a scroll that is not drawn yet. */
export function inSight(scrolled: number, height: number, rowHeight: number, count: number): readonly [first: number, end: number] {
  const end = Math.min(count, Math.ceil((scrolled + height) / rowHeight) + 4);
  return [Math.max(0, Math.min(end, Math.floor(scrolled / rowHeight) - 4)), end];
}

/** `9:05:07.123`, by this machine's zone. */
function clock(at: number): string {
  const time = new Date(at);
  const two = (value: number) => String(value).padStart(2, '0');
  return `${time.getHours()}:${two(time.getMinutes())}:${two(time.getSeconds())}.${String(time.getMilliseconds()).padStart(3, '0')}`;
}

/** `12 ms`, `1.5 s`, `3 min 20 s`, `2 h 5 min`. */
export function duration(ms: number): string {
  if (ms < 999.5) return `${Math.round(ms)} ms`;
  if (ms < 59_950) return `${(ms / 1000).toFixed(1)} s`;
  const seconds = Math.round(ms / 1000);
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ${seconds % 60} s`;
  return `${Math.floor(seconds / 3600)} h ${Math.floor((seconds % 3600) / 60)} min`;
}

function number(value: number): string {
  return value.toLocaleString('en');
}
