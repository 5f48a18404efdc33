// What this window holds in clusters: one session for each place, with its exchanges and forwards. A session begins with
// the first thing that needs it and ends with the last. Knows no editor.

import type { Engine, EngineExchange, EngineForward, EngineSession, Flows, Place, State, Stats } from '../engine/engine.js';
import { Mistake } from '../engine/problem.js';
import { Signal } from '../signal.js';

export interface StartOptions {
  readonly signal?: AbortSignal | undefined;
  /** Told what is being done, for the user. */
  readonly progress?: ((what: string) => void) | undefined;
  /** A debugged program needs it, and it ends with that. Default: false. */
  readonly forDebugging?: boolean | undefined;
}

/** An exchange or a forward of ours. */
export interface Held {
  readonly key: string;
  /** What the session's flows say of it. */
  readonly handle: number;
  readonly session: HeldSession;
  readonly kind: 'exchange' | 'forward';
  /** The Service, or the destination. */
  readonly target: string;
  /** The local port of an exchange, the local `host:port` of a forward. */
  readonly local: string;
  readonly since: Date;
  /** It was begun for a debugged program, not by hand. */
  readonly forDebugging: boolean;
  readonly state: State;
  readonly stats: Stats;
}

export interface HeldExchange extends Held {
  readonly kind: 'exchange';
  /** What holds callers should somebody die. */
  readonly safety: string;
}

export interface HeldForward extends Held {
  readonly kind: 'forward';
  readonly host: string;
  readonly port: number;
}

export interface HeldSession {
  readonly key: string;
  readonly place: Place;
  readonly context: string | undefined;
  readonly namespace: string;
  readonly since: Date;
  readonly state: State;
  readonly items: readonly (HeldExchange | HeldForward)[];
  /** Those that are open, and those that have ended since the answer whose `next` is given. Also when it is over. */
  flows(after: number): Flows;
}

/** Something of ours that ended and was not asked to. */
export interface Ended {
  readonly what: string;
  readonly why: string;
}

export class Sessions {
  /** Something began, ended or changed its state. */
  readonly changed = new Signal();
  readonly ended = new Signal<Ended>();
  /** It is over, as asked or not. */
  readonly left = new Signal<HeldSession>();
  readonly #engine: () => Promise<Engine>;
  readonly #open = new Map<string, Attachment>();
  /** Those that are being closed, until they are. */
  readonly #closing = new Set<Promise<void>>();
  #closed = false;

  constructor(engine: () => Promise<Engine>) {
    this.#engine = engine;
  }

  list(): readonly HeldSession[] {
    return [...this.#open.values()].flatMap((attachment) => attachment.view ?? []);
  }

  find(key: string): HeldSession | HeldExchange | HeldForward | undefined {
    for (const session of this.list()) {
      if (session.key === key) return session;
      const item = session.items.find((each) => each.key === key);
      if (item !== undefined) return item;
    }
    return undefined;
  }

  /** The session for this place. */
  at(place: Place): HeldSession | undefined {
    return this.#open.get(placeKey(place))?.view;
  }

  /** The exchange of this Service in this window, by the context and namespace of its session. */
  exchangeOf(service: string, place: { context: string | undefined; namespace: string }): HeldExchange | undefined {
    for (const { context, namespace, items } of this.list()) {
      if (context !== place.context || namespace !== place.namespace) continue;
      const found = items.find((item) => item.kind === 'exchange' && item.target === service);
      if (found?.kind === 'exchange') return found;
    }
    return undefined;
  }

  /** Resolves when a connection from inside the cluster has been seen to arrive at the local port. */
  exchange(place: Place, service: string, port: number, options: StartOptions = {}): Promise<HeldExchange> {
    return this.#within(place, options, (attachment) => attachment.exchange(service, port, options));
  }

  /** Resolves when the local port leads into the cluster. */
  forward(place: Place, destination: string, options: StartOptions & { port?: number } = {}): Promise<HeldForward> {
    return this.#within(place, options, (attachment) => attachment.forward(destination, options));
  }

  /** Stops a session, an exchange or a forward, and resolves when the cluster is as it was. What is gone is stopped. */
  async stop(key: string): Promise<void> {
    for (const attachment of [...this.#open.values()]) {
      if (attachment.view?.key === key) await this.#end(attachment);
      else if (await attachment.stop(key)) await this.#endUnused(attachment);
    }
  }

  async stopAll(): Promise<void> {
    const ends = [...this.#open.values()].map((attachment) => this.#end(attachment));
    const results = await Promise.allSettled([...ends, ...this.#closing]);
    const failed = results.find((result) => result.status === 'rejected');
    if (failed?.status === 'rejected') throw failed.reason;
  }

  /** As `stopAll`, and nothing begins any more. */
  async close(): Promise<void> {
    this.#closed = true;
    await this.stopAll();
  }

  async #within<T>(place: Place, options: StartOptions, start: (attachment: Attachment) => Promise<T>): Promise<T> {
    if (this.#closed) throw new Mistake('closed', 'kubetether is being stopped');
    options.signal?.throwIfAborted();
    const key = placeKey(place);
    let attachment = this.#open.get(key);
    if (attachment === undefined) {
      attachment = new Attachment(key, place, this.#engine, this.changed, this.ended);
      this.#open.set(key, attachment);
      const begun = attachment;
      begun.over.listen(() => {
        this.#forget(begun);
        this.#leave(begun);
      });
    }
    attachment.users++;
    let started: T;
    try {
      await attachment.ready(options);
      started = await start(attachment);
    } catch (error) {
      attachment.users--;
      // Why it failed is what the user is to know, not that its end did, too.
      await this.#endUnused(attachment).catch(() => undefined);
      throw error;
    }
    attachment.users--;
    // What began may be over already.
    await this.#endUnused(attachment);
    return started;
  }

  async #endUnused(attachment: Attachment): Promise<void> {
    if (attachment.users === 0 && attachment.isEmpty) await this.#end(attachment);
  }

  async #end(attachment: Attachment): Promise<void> {
    this.#forget(attachment);
    const closing = attachment.close();
    this.#closing.add(closing);
    try {
      await closing;
    } finally {
      this.#closing.delete(closing);
      this.#leave(attachment);
      this.changed.tell();
    }
  }

  #forget(attachment: Attachment): void {
    if (this.#open.get(attachment.key) === attachment) this.#open.delete(attachment.key);
    this.changed.tell();
  }

  #leave({ view }: Attachment): void {
    if (view !== undefined) this.left.tell(view);
  }
}

/** One session of the engine, and what was begun in it. */
class Attachment {
  /** The session is over, as asked or not. */
  readonly over = new Signal();
  /** Starts under way. */
  users = 0;
  view: HeldSession | undefined;
  readonly #engine: () => Promise<Engine>;
  readonly #changed: Signal;
  readonly #ended: Signal<Ended>;
  readonly #items = new Map<string, { view: HeldExchange | HeldForward; handle: EngineExchange | EngineForward }>();
  readonly #progress = new Set<(what: string) => void>();
  readonly #giveUp = new AbortController();
  #session: Promise<EngineSession> | undefined;
  #closing = false;

  constructor(
    readonly key: string,
    readonly place: Place,
    engine: () => Promise<Engine>,
    changed: Signal,
    ended: Signal<Ended>,
  ) {
    this.#engine = engine;
    this.#changed = changed;
    this.#ended = ended;
  }

  get isEmpty(): boolean {
    return this.#items.size === 0;
  }

  /** Several may wait; one who gives up does not end it for the others. */
  async ready({ signal }: StartOptions): Promise<void> {
    this.#session ??= this.#connect();
    await orAborted(this.#session, signal);
  }

  async exchange(service: string, port: number, options: StartOptions): Promise<HeldExchange> {
    for (const { view } of this.#items.values()) {
      if (view.kind !== 'exchange' || view.target !== service) continue;
      throw new Mistake('held', `${service} is exchanged by this window, to ${view.local}`, 'Stop that exchange first');
    }
    const session = await this.#live();
    const handle = await this.#telling(options, () => session.exchange(service, { to: port, signal: options.signal }));
    const local = handle.ports[0]?.local ?? `127.0.0.1:${port}`;
    return this.#keep<HeldExchange>(handle, {
      ...this.#base(handle, service, local, options),
      kind: 'exchange',
      safety: handle.safety.text,
    });
  }

  async forward(destination: string, options: StartOptions & { port?: number }): Promise<HeldForward> {
    const session = await this.#live();
    const { port, signal } = options;
    const handle = await this.#telling(options, () => session.forward(destination, { port, signal }));
    return this.#keep<HeldForward>(handle, {
      ...this.#base(handle, destination, handle.address, options),
      kind: 'forward',
      host: handle.host,
      port: handle.port,
    });
  }

  /** Whether it was here. */
  async stop(key: string): Promise<boolean> {
    const item = this.#items.get(key);
    if (item === undefined) return false;
    try {
      await item.handle.close();
    } finally {
      this.#items.delete(key);
      this.#changed.tell();
    }
    return true;
  }

  async close(): Promise<void> {
    this.#closing = true;
    this.#giveUp.abort();
    const session = await this.#session?.catch(() => undefined);
    await session?.close();
  }

  async #connect(): Promise<EngineSession> {
    const engine = await this.#engine();
    const session = await engine.connect({ ...this.place, signal: this.#giveUp.signal });
    const { key, place } = this;
    const items = this.#items;
    this.view = {
      key,
      place,
      context: session.context,
      namespace: session.namespace,
      since: new Date(),
      get state() {
        return session.state;
      },
      get items() {
        return [...items.values()].map(({ view }) => view);
      },
      flows: (after) => session.flows(after),
    };
    void this.#follow(session);
    this.#changed.tell();
    return session;
  }

  /** Until it is over. */
  async #follow(session: EngineSession): Promise<void> {
    let reason = 'it ended';
    for await (const event of session.events()) {
      if (event.type === 'progress') for (const tell of this.#progress) tell(event.what);
      if (event.type === 'closed') reason = event.reason;
      if (event.type !== 'progress') this.#changed.tell();
    }
    if (this.#closing) return;
    this.over.tell();
    this.#ended.tell({ what: `The session in ${session.namespace}`, why: reason });
  }

  async #live(): Promise<EngineSession> {
    const session = await this.#session;
    if (session === undefined) throw new Mistake('closed', 'The session is not open');
    return session;
  }

  async #telling<T>({ progress }: StartOptions, start: () => Promise<T>): Promise<T> {
    if (progress === undefined) return start();
    this.#progress.add(progress);
    try {
      return await start();
    } finally {
      this.#progress.delete(progress);
    }
  }

  #base(
    handle: EngineExchange | EngineForward,
    target: string,
    local: string,
    { forDebugging = false }: StartOptions,
  ): Omit<Held, 'kind' | 'state' | 'stats'> {
    if (this.view === undefined) throw new Mistake('closed', 'The session is not open');
    return { key: `${this.key}#${handle.id}`, handle: handle.id, session: this.view, target, local, since: new Date(), forDebugging };
  }

  #keep<T extends HeldExchange | HeldForward>(handle: EngineExchange | EngineForward, facts: Omit<T, 'state' | 'stats'>): T {
    const view = Object.defineProperties({ ...facts }, {
      state: { get: () => handle.state },
      stats: { get: () => handle.stats },
    }) as T;
    this.#items.set(view.key, { view, handle });
    void this.#watchEnd(view, handle);
    this.#changed.tell();
    return view;
  }

  async #watchEnd(view: HeldExchange | HeldForward, handle: EngineExchange | EngineForward): Promise<void> {
    const state = await handle.closed().catch((error: unknown): State => ({ state: 'lost', reason: String(error) }));
    if (!this.#items.delete(view.key) || this.#closing) return;
    this.#changed.tell();
    if (state.state !== 'lost') return;
    this.#ended.tell({
      what: view.kind === 'exchange' ? `The exchange of ${view.target}` : `The forward to ${view.target}`,
      why: state.reason ?? 'it was lost',
    });
  }
}

function placeKey({ kubeconfig, context, namespace }: Place): string {
  return JSON.stringify([kubeconfig ?? null, context ?? null, namespace ?? null]);
}

/** The promise goes on; only this wait for it ends. */
function orAborted<T>(promise: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (signal === undefined) return promise;
  if (signal.aborted) return Promise.reject(signal.reason);
  return new Promise((resolve, reject) => {
    const abort = () => reject(signal.reason);
    signal.addEventListener('abort', abort, { once: true });
    promise.then(resolve, reject).finally(() => signal.removeEventListener('abort', abort));
  });
}
