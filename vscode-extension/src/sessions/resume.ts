// What was held by hand when the window went, so that it can be begun again. What debugging holds begins with F5. Knows no
// editor.

import type { Place } from '../engine/engine.js';
import type { Disposable } from '../signal.js';
import type { Held, HeldExchange, HeldForward, Sessions } from './sessions.js';

/** One thing to begin again. */
export interface Wanted {
  readonly kind: Held['kind'];
  readonly place: Place;
  readonly target: string;
  readonly port: number;
}

/** Keeps one value beyond the window. */
export interface Store {
  get(): readonly Wanted[];
  set(wanted: readonly Wanted[]): void;
}

export class Resume implements Disposable {
  readonly #sessions: Sessions;
  readonly #subscription: Disposable;
  /** From the window before this one. */
  readonly #before: readonly Wanted[];

  /** Records from now on, until it is disposed: what ends after that ends with the window. */
  constructor(store: Store, sessions: Sessions) {
    this.#sessions = sessions;
    this.#before = store.get();
    store.set([]);
    let recorded = '[]';
    this.#subscription = sessions.changed.listen(() => {
      const wanted = sessions.list().flatMap(({ items }) => items.filter(({ forDebugging }) => !forDebugging).map(wantedOf));
      const text = JSON.stringify(wanted);
      if (text === recorded) return;
      recorded = text;
      store.set(wanted);
    });
  }

  dispose(): void {
    this.#subscription.dispose();
  }

  /** For the question; undefined when there is nothing to ask. */
  get question(): string | undefined {
    const [first, ...rest] = this.#before;
    if (first === undefined) return undefined;
    const what = first.kind === 'exchange' ? `the exchange of ${first.target}` : `the forward to ${first.target}`;
    return `Closing the window ended ${what}${rest.length > 0 ? ` and ${rest.length} more` : ''}. Start again?`;
  }

  /** Begins all of it again, with the same ports. */
  async again(signal?: AbortSignal, progress?: (what: string) => void): Promise<void> {
    const options = { signal, progress };
    const starts = this.#before.map(({ kind, place, target, port }) =>
      kind === 'exchange' ? this.#sessions.exchange(place, target, port, options) : this.#sessions.forward(place, target, { ...options, port }),
    );
    const failed = (await Promise.allSettled(starts)).find((result) => result.status === 'rejected');
    if (failed?.status === 'rejected') throw failed.reason;
  }
}

function wantedOf(item: HeldExchange | HeldForward): Wanted {
  const { kind, session, target, local } = item;
  return { kind, place: session.place, target, port: item.kind === 'forward' ? item.port : Number(/:(\d+)$/.exec(local)?.[1] ?? 0) };
}
