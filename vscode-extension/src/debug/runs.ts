// What debugging holds in the cluster: for each start of a configuration its forwards and its exchange, from before the
// program is launched until the last of its debug sessions is over. A restart keeps them. Knows no editor.

import type { Place } from '../engine/engine.js';
import type { HeldExchange, HeldForward, Sessions, StartOptions } from '../sessions/sessions.js';
import { blockKey, type Block } from './block.js';
import type { Address } from './addresses.js';

export interface Started {
  /** Stands in the launched configuration, so that its debug sessions are known. */
  readonly id: string;
  readonly addresses: ReadonlyMap<string, Address>;
  /** Settles when the exchange is in force; at once without one. */
  readonly exchanged: Promise<void>;
  /** It was there already: a restart, or a second start. */
  readonly kept: boolean;
}

/** Waiting, so that tests have a clock of their own. */
export interface Timers {
  /** Calls once, unless what it returns is called before. */
  after(ms: number, call: () => void): () => void;
}

export const realTimers: Timers = {
  after(ms, call) {
    const timer = setTimeout(call, ms);
    return () => clearTimeout(timer);
  },
};

/** A launch that never becomes a debug session is over by then: the debugger could not start. */
const LAUNCH_MS = 60_000;
/** A restart begins again by then. */
const RESTART_MS = 30_000;

export class Runs {
  readonly #sessions: Sessions;
  readonly #timers: Timers;
  /** By the configuration that was started. */
  readonly #runs = new Map<string, Run>();
  #count = 0;

  constructor(sessions: Sessions, timers: Timers = realTimers) {
    this.#sessions = sessions;
    this.#timers = timers;
  }

  /**
   * Makes the forwards, and begins the exchange. `of` names folder and configuration: what it holds from before is kept when
   * it asks for the same, and stopped when not. What was begun is undone when it fails or is given up.
   */
  async start(of: string, place: Place, block: Block, options: StartOptions = {}): Promise<Started> {
    const asked = JSON.stringify([place, blockKey(block)]);
    const before = this.#runs.get(of);
    if (before !== undefined && before.asked === asked && !before.ending) {
      before.cancelTimer();
      this.#awaitLaunch(before);
      return { ...before.started(), kept: true };
    }
    if (before !== undefined) await this.#end(before);

    const run = new Run(`run-${++this.#count}`, of, asked);
    this.#runs.set(of, run);
    try {
      await Promise.all(
        [...block.forwards].map(async ([name, destination]) => {
          const forward = await this.#sessions.forward(place, destination, { ...options, forDebugging: true });
          run.forwards.set(name, forward);
          // Another one failed meanwhile.
          if (run.ending) await this.#sessions.stop(forward.key);
        }),
      );
      options.signal?.throwIfAborted();
    } catch (error) {
      await this.#end(run).catch(() => undefined);
      throw error;
    }
    if (block.exchange !== undefined) run.exchanged = this.#exchange(run, place, block.exchange, options);
    this.#awaitLaunch(run);
    return { ...run.started(), kept: false };
  }

  /** Tries an exchange again that failed, for a run that still is. */
  async exchangeAgain(id: string, place: Place, block: Block, options: StartOptions = {}): Promise<void> {
    const run = this.#byId(id);
    if (run === undefined || block.exchange === undefined) return;
    run.exchanged = this.#exchange(run, place, block.exchange, options);
    await run.exchanged;
  }

  /** A debug session of the run began. */
  attached(id: string, debugSession: string): void {
    const run = this.#byId(id);
    run?.cancelTimer();
    run?.debugSessions.add(debugSession);
  }

  /** The editor restarts it: what ends now begins again. */
  restarting(id: string): void {
    const run = this.#byId(id);
    if (run !== undefined) run.restarting = true;
  }

  /** A debug session of the run is over. Resolves when what the run held is put back, if that was the last one. */
  async detached(id: string, debugSession: string): Promise<void> {
    const run = this.#byId(id);
    if (run === undefined || !run.debugSessions.delete(debugSession) || run.debugSessions.size > 0) return;
    if (!run.restarting) return this.#end(run);
    run.restarting = false;
    this.#endAfter(run, RESTART_MS);
  }

  async #exchange(run: Run, place: Place, { service, port }: { service: string; port: number }, options: StartOptions): Promise<void> {
    const there = this.#sessions.at(place)?.items.find((item) => item.kind === 'exchange' && item.target === service);
    // Begun by hand, or by this run before: it is what was asked for, and stays with who began it.
    if (there?.local.endsWith(`:${port}`) === true) return;
    const signal = options.signal === undefined ? run.over.signal : AbortSignal.any([run.over.signal, options.signal]);
    run.exchange = await this.#sessions.exchange(place, service, port, { ...options, signal, forDebugging: true });
    if (run.ending) await this.#sessions.stop(run.exchange.key);
  }

  #awaitLaunch(run: Run): void {
    if (run.debugSessions.size === 0) this.#endAfter(run, LAUNCH_MS);
  }

  #endAfter(run: Run, ms: number): void {
    run.cancelTimer();
    run.cancelTimer = this.#timers.after(ms, () => void this.#end(run).catch(() => undefined));
  }

  /** In reverse order: callers have the original again before the program's own way into the cluster goes. */
  async #end(run: Run): Promise<void> {
    run.cancelTimer();
    run.over.abort();
    if (this.#runs.get(run.of) === run) this.#runs.delete(run.of);
    await run.exchanged.catch(() => undefined);
    const results = [];
    if (run.exchange !== undefined) results.push(...(await Promise.allSettled([this.#sessions.stop(run.exchange.key)])));
    results.push(...(await Promise.allSettled([...run.forwards.values()].map(({ key }) => this.#sessions.stop(key)))));
    const failed = results.find((result) => result.status === 'rejected');
    if (failed?.status === 'rejected') throw failed.reason;
  }

  #byId(id: string): Run | undefined {
    return [...this.#runs.values()].find((run) => run.id === id);
  }
}

class Run {
  readonly debugSessions = new Set<string>();
  readonly forwards = new Map<string, HeldForward>();
  readonly over = new AbortController();
  exchange: HeldExchange | undefined;
  exchanged: Promise<void> = Promise.resolve();
  restarting = false;
  cancelTimer: () => void = () => undefined;

  constructor(
    readonly id: string,
    readonly of: string,
    readonly asked: string,
  ) {}

  get ending(): boolean {
    return this.over.signal.aborted;
  }

  started(): Omit<Started, 'kept'> {
    const addresses = new Map([...this.forwards].map(([name, { host, port }]) => [name, { host, port }]));
    return { id: this.id, addresses, exchanged: this.exchanged };
  }
}
