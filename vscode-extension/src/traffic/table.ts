// The flows that are shown: so many and no more. The extension host and the page have one each, kept alike by messages. Pure.

/** One connection, or one UDP association. Never changed: another one takes its place. */
export interface FlowRow {
  /** Never used twice in a window. */
  readonly id: string;
  /** The exchange or forward that it went through: a key of `Name`. */
  readonly handle: string;
  /** Milliseconds since 1970, by the extension host's clock. */
  readonly began: number;
  readonly from: string;
  readonly to: string;
  /** Bytes from the cluster, and to it. */
  readonly received: number;
  readonly sent: number;
  /** Once it is over: how, for people, and how many milliseconds it took. */
  readonly end?: { readonly text: string; readonly calm: boolean; readonly took: number };
}

/** What an exchange or a forward is called. */
export interface Name {
  readonly key: string;
  readonly label: string;
}

/** Rows that are kept: beyond, the oldest that are over go, and then the oldest. */
export const MOST_ROWS = 2_000;

export class FlowTable {
  readonly #rows = new Map<string, FlowRow>();
  readonly #most: number;

  constructor(most = MOST_ROWS) {
    this.#most = most;
  }

  /** In the order in which they came. */
  get rows(): FlowRow[] {
    return [...this.#rows.values()];
  }

  has(id: string): boolean {
    return this.#rows.has(id);
  }

  get(id: string): FlowRow | undefined {
    return this.#rows.get(id);
  }

  /** Adds new ones, and replaces those that are there. Gives how many had to go. */
  put(rows: Iterable<FlowRow>): number {
    for (const row of rows) this.#rows.set(row.id, row);
    return this.#shrink();
  }

  /** Only those stay that are open. */
  clear(): void {
    for (const { id, end } of this.#rows.values()) if (end !== undefined) this.#rows.delete(id);
  }

  /** These, and no others. */
  reset(rows: Iterable<FlowRow>): void {
    this.#rows.clear();
    this.put(rows);
  }

  #shrink(): number {
    const excess = this.#rows.size - this.#most;
    let left = excess;
    for (const over of [true, false]) {
      for (const { id, end } of this.#rows.values()) {
        if (left <= 0) return Math.max(0, excess);
        if (over !== (end !== undefined)) continue;
        this.#rows.delete(id);
        left--;
      }
    }
    return Math.max(0, excess);
  }
}
