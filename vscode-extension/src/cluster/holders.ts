// Who holds the Services of a namespace, as the engine tells it. It is asked when somebody holds one, and not before. Knows
// no editor.

import type { Engine, Place } from '../engine/engine.js';
import { Signal } from '../signal.js';
import type { Holder } from '../views/clusterRows.js';

/** Seconds to watch whether a holder lives. The first answer says who, this one whether. */
const PATIENCE = 35;

export class Holders {
  readonly changed = new Signal();
  readonly #engine: () => Promise<Engine>;
  readonly #told: (error: unknown) => void;
  readonly #places = new Map<string, { names: string; holders: Map<string, Holder>; asking: AbortController }>();

  /** `told` has the failures: without an answer the rows say that a Service is held, and not by whom. */
  constructor(engine: () => Promise<Engine>, told: (error: unknown) => void) {
    this.#engine = engine;
    this.#told = told;
  }

  of(key: string, service: string): Holder | undefined {
    return this.#places.get(key)?.holders.get(service);
  }

  /** These Services of the place are held, now. Asks when they are others than before. */
  look(key: string, place: () => Promise<Place>, held: readonly string[]): void {
    const names = held.join('\n');
    const before = this.#places.get(key);
    if ((before?.names ?? '') === names) return;
    before?.asking.abort();
    if (held.length === 0) {
      this.#places.delete(key);
      return;
    }
    const entry = { names, holders: before?.holders ?? new Map<string, Holder>(), asking: new AbortController() };
    this.#places.set(key, entry);
    void this.#ask(place, entry).catch((error: unknown) => {
      if (!entry.asking.signal.aborted) this.#told(error);
    });
  }

  /** Asks nothing any more. */
  close(): void {
    for (const { asking } of this.#places.values()) asking.abort();
    this.#places.clear();
  }

  async #ask(placeOf: () => Promise<Place>, entry: { holders: Map<string, Holder>; asking: AbortController }): Promise<void> {
    const [engine, place] = await Promise.all([this.#engine(), placeOf()]);
    for (const patience of [0, PATIENCE]) {
      const { services } = await engine.status({ ...place, patience, signal: entry.asking.signal });
      entry.holders.clear();
      for (const { service, who, life } of services) entry.holders.set(service, { who: who ?? 'somebody', life });
      this.changed.tell();
      if (services.every(({ life }) => life !== 'unknown')) return;
    }
  }
}
