// What the traffic panel shows: the flows of this window's sessions, read while somebody looks, and told as differences. The engine
// remembers what ends meanwhile. Knows no editor.

import { randomUUID } from 'node:crypto';

import type { Flow, Flows } from '../engine/engine.js';
import type { Held, HeldSession, Sessions } from '../sessions/sessions.js';
import type { Disposable } from '../signal.js';
import { endOf } from './ends.js';
import type { ToPage } from './messages.js';
import { FlowTable, type FlowRow, type Name } from './table.js';

/** Flows are read this often while the panel is seen. */
export const EVERY_MS = 250;
/** Of the time, this share at most goes into reading: 1 of so many. */
const SHARE = 20;
/** Open flows that an answer of the engine has at most. */
const MOST_LISTED = 4_096;
/** Exchanges and forwards whose names are kept. */
const MOST_NAMES = 200;

/** This extension host. */
const HOST = randomUUID();

type Post = (message: ToPage) => void;

/** One session, while it can be read. */
interface Source {
  readonly prefix: string;
  /** Of the answer before. */
  next: number;
  /** Open flows, also those that are not shown any more. */
  readonly open: Map<number, { readonly sent: number; readonly received: number }>;
}

export class TrafficFeed implements Disposable {
  readonly #sessions: Sessions;
  readonly #warn: (error: unknown) => void;
  readonly #clock: () => number;
  readonly #table = new FlowTable();
  readonly #sources = new Map<HeldSession, Source>();
  readonly #names = new Map<string, Name>();
  /** The keys of exchanges, forwards and sessions as the views have them, and as the page has them. */
  readonly #keys = new Map<string, string>();
  readonly #subscriptions: Disposable[];
  #begun = 0;
  #forgotten = 0;
  #namesChanged = false;
  /** What was shown when it was paused. */
  #frozen: { readonly rows: readonly FlowRow[]; readonly at: number } | undefined;
  #post: Post | undefined;
  /** Messages that the page has not shown yet. */
  #waiting = 0;
  #timer: NodeJS.Timeout | undefined;
  /** Until the next reading. */
  #delay = EVERY_MS;

  /** `clock` tells how long a reading takes, in milliseconds. */
  constructor(sessions: Sessions, warn: (error: unknown) => void, clock: () => number = () => performance.now()) {
    this.#sessions = sessions;
    this.#warn = warn;
    this.#clock = clock;
    this.#subscriptions = [
      sessions.changed.listen(() => this.#follow()),
      sessions.left.listen((session) => this.#leave(session)),
    ];
    this.#follow();
  }

  dispose(): void {
    this.hidden();
    for (const subscription of this.#subscriptions) subscription.dispose();
  }

  /** A page is there to be told. */
  shown(post: Post): void {
    this.hidden();
    this.#post = post;
    this.#read();
    this.#tellAll();
  }

  /** Nobody looks: nothing is read. */
  hidden(): void {
    clearTimeout(this.#timer);
    this.#post = undefined;
    this.#waiting = 0;
  }

  /** The page shows what it was told. */
  taken(): void {
    if (this.#waiting > 0 && --this.#waiting === 0) this.#later();
  }

  get paused(): boolean {
    return this.#frozen !== undefined;
  }

  /** What is shown stands still; flows go on to be read. */
  pause(): void {
    this.#frozen ??= { rows: this.#table.rows, at: Date.now() };
    this.#tellAll();
  }

  resume(): void {
    this.#frozen = undefined;
    this.#tellAll();
  }

  /** Flows that are over are no longer shown. */
  clear(): void {
    this.#table.clear();
    this.#forgotten = 0;
    if (this.#frozen !== undefined) this.#frozen = { ...this.#frozen, rows: this.#table.rows };
    this.#tellAll();
  }

  /** By the key of a session, an exchange or a forward: that of the page's names, or what theirs begin with. */
  keyOf(key: string): string | undefined {
    return this.#keys.get(key);
  }

  /** Sessions that began. Those that are gone from the list are read once more when they are over. */
  #follow(): void {
    for (const session of this.#sessions.list()) {
      let source = this.#sources.get(session);
      if (source === undefined) {
        source = { prefix: `${++this.#begun}.`, next: 0, open: new Map() };
        this.#sources.set(session, source);
        this.#keys.set(session.key, source.prefix);
      }
      for (const item of session.items) this.#name(item, `${source.prefix}${item.handle}`);
    }
  }

  #name({ key, kind, target }: Held, as: string): void {
    if (this.#names.has(as)) return;
    this.#names.set(as, { key: as, label: kind === 'exchange' ? target : `→ ${target}` });
    this.#keys.set(key, as);
    this.#namesChanged = true;
    for (const map of [this.#names, this.#keys]) {
      const [oldest] = map.keys();
      if (map.size > MOST_NAMES && oldest !== undefined) map.delete(oldest);
    }
  }

  #leave(session: HeldSession): void {
    const source = this.#sources.get(session);
    if (source === undefined) return;
    this.#take(session, source);
    this.#sources.delete(session);
    // Whatever the engine did not tell: no flow outlives its session.
    this.#table.put([...source.open.keys()].flatMap((number) => this.#over(source, number, 'ended with the session')));
    this.#tellAll();
  }

  /** Reads all sessions; gives what is different. */
  #read(): FlowRow[] {
    return [...this.#sources].flatMap(([session, source]) => this.#take(session, source));
  }

  #take(session: HeldSession, source: Source): FlowRow[] {
    let flows: Flows;
    try {
      flows = session.flows(source.next);
    } catch (error) {
      this.#warn(error);
      return [];
    }
    const { open, ended, missed, next } = flows;
    source.next = next;
    const rows: FlowRow[] = [];
    for (const flow of open) {
      const before = source.open.get(flow.number);
      const same = before !== undefined && before.sent === flow.sent && before.received === flow.received;
      if (!same) source.open.set(flow.number, { sent: flow.sent, received: flow.received });
      // One that had to go is not shown again before it ends.
      if (before === undefined || (!same && this.#table.has(idOf(source, flow)))) rows.push(this.#row(source, flow));
    }
    for (const flow of ended) {
      source.open.delete(flow.number);
      rows.push(this.#row(source, flow));
    }
    this.#forgotten += missed;
    // Those whose end was forgotten. Where the list is full, they may just not stand in it.
    if (source.open.size > open.length && open.length < MOST_LISTED) {
      const listed = new Set(open.map(({ number }) => number));
      for (const number of [...source.open.keys()].filter((each) => !listed.has(each))) {
        const over = this.#over(source, number, 'ended');
        // What has a row is not forgotten.
        this.#forgotten -= over.length;
        rows.push(...over);
        source.open.delete(number);
      }
    }
    rows.sort((a, b) => a.began - b.began);
    this.#forgotten += this.#table.put(rows);
    return rows;
  }

  #row(source: Source, flow: Flow): FlowRow {
    const id = idOf(source, flow);
    const { from, to, sent, received } = flow;
    const end = flow.end == null ? {} : { end: { ...endOf(flow.end), took: flow.duration * 1000 } };
    const began = this.#table.get(id)?.began ?? Date.parse(flow.began);
    return { id, handle: `${source.prefix}${flow.handle}`, began, from, to, sent, received, ...end };
  }

  /** One whose end was not told. */
  #over(source: Source, number: number, text: string): FlowRow[] {
    const row = this.#table.get(`${source.prefix}${number}`);
    return row === undefined ? [] : [{ ...row, end: { text, calm: true, took: Math.max(0, Date.now() - row.began) } }];
  }

  #tick(): void {
    const began = this.#clock();
    const rows = this.#read();
    this.#delay = Math.max(EVERY_MS, (this.#clock() - began) * SHARE);
    if (!this.paused && (rows.length > 0 || this.#namesChanged)) {
      // What had to go again meanwhile is none of the page's.
      this.#tell({ type: 'some', rows: rows.filter(({ id }) => this.#table.has(id)), ...(this.#namesChanged ? { names: this.#namesNow() } : {}) });
    } else {
      this.#later();
    }
  }

  #later(): void {
    clearTimeout(this.#timer);
    if (this.#post !== undefined) this.#timer = setTimeout(() => this.#tick(), this.#delay);
  }

  #tellAll(): void {
    this.#tell({ type: 'all', rows: this.#frozen?.rows ?? this.#table.rows, names: this.#namesNow(), paused: this.paused, host: HOST });
  }

  #tell(message: DistributiveOmit<Exclude<ToPage, { type: 'only' }>, 'forgotten' | 'now'>): void {
    if (this.#post === undefined) return;
    clearTimeout(this.#timer);
    this.#waiting++;
    this.#post({ ...message, forgotten: this.#forgotten, now: this.#frozen?.at ?? Date.now() });
  }

  #namesNow(): Name[] {
    this.#namesChanged = false;
    return [...this.#names.values()];
  }
}

type DistributiveOmit<T, K extends PropertyKey> = T extends unknown ? Omit<T, K> : never;

function idOf({ prefix }: Source, { number }: Flow): string {
  return `${prefix}${number}`;
}
