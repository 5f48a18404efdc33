// An engine that does what it is told, for tests of what rests on it.

import type { Engine, EngineExchange, EngineForward, EngineSession, Event, Flow, FlowEnd, Flows, Place, State, Stats, Status } from '../src/engine/engine.js';

const NOTHING: Stats = { connections: 0, open: 0, refused: 0, sent: 0, received: 0 };

export class FakeEngine implements Engine {
  /** What was asked of it, in order, as `exchange orders`. */
  readonly calls: string[] = [];
  readonly sessions: FakeSession[] = [];
  statuses: Status[] = [];
  /** Awaited by each start; throws what is to fail. */
  start: (what: string) => unknown = () => undefined;

  async connect({ context, namespace, signal }: Place & { signal?: AbortSignal }): Promise<EngineSession> {
    this.calls.push(`connect ${namespace ?? '-'}`);
    await this.start('connect');
    signal?.throwIfAborted();
    const session = new FakeSession(this, context ?? 'main', namespace ?? 'default');
    this.sessions.push(session);
    return session;
  }

  async status({ patience }: { patience?: number }): Promise<Status> {
    this.calls.push(`status ${patience}`);
    const status = this.statuses.shift();
    if (status === undefined) throw new Error('no status is told');
    return status;
  }

  clean(): Promise<never> {
    return Promise.reject(new Error('not faked'));
  }

  recover(): Promise<never> {
    return Promise.reject(new Error('not faked'));
  }

  onLog(): () => void {
    return () => undefined;
  }
}

export class FakeSession implements EngineSession {
  state: State = { state: 'ready' };
  readonly id = 'abc';
  readonly handles: FakeHandle[] = [];
  readonly traffic = new FakeTraffic();
  readonly #over = deferred<string>();
  #count = 0;

  constructor(
    readonly engine: FakeEngine,
    readonly context: string,
    readonly namespace: string,
  ) {}

  async exchange(service: string, { to, signal }: { to: number | string; signal?: AbortSignal | undefined }): Promise<EngineExchange> {
    this.engine.calls.push(`exchange ${service}`);
    await this.engine.start(`exchange ${service}`);
    signal?.throwIfAborted();
    const handle = new FakeHandle(this.engine, `exchange ${service}`, ++this.#count);
    this.handles.push(handle);
    return Object.assign(handle, { service, ports: [{ servicePort: 80, local: `127.0.0.1:${to}` }], safety: { text: 'safe' } });
  }

  async forward(destination: string, { port, signal }: { port?: number | undefined; signal?: AbortSignal | undefined } = {}): Promise<EngineForward> {
    this.engine.calls.push(`forward ${destination}`);
    await this.engine.start(`forward ${destination}`);
    signal?.throwIfAborted();
    const handle = new FakeHandle(this.engine, `forward ${destination}`, ++this.#count);
    this.handles.push(handle);
    const local = port ?? 40_000 + handle.id;
    return Object.assign(handle, { destination, host: '127.0.0.1', port: local, address: `127.0.0.1:${local}` });
  }

  async *events(): AsyncGenerator<Event> {
    yield { type: 'closed', reason: await this.#over.promise };
  }

  flows(after = 0): Flows {
    this.engine.calls.push(`flows ${after}`);
    return this.traffic.flows(after);
  }

  /** It ends, as asked or not. */
  end(reason: string): void {
    this.#over.resolve(reason);
  }

  close(): Promise<void> {
    this.engine.calls.push('close session');
    this.state = { state: 'closed' };
    this.end('asked');
    return Promise.resolve();
  }

  closed(): Promise<string> {
    return this.#over.promise;
  }
}

/** Flows as the engine tells them; it remembers so many of those that ended. */
export class FakeTraffic {
  readonly #open = new Map<number, Flow>();
  #ended: Flow[] = [];
  #count = 0;
  #told = 0;

  constructor(readonly remembered = 1_024) {}

  begin(more: Partial<Flow> = {}): number {
    const number = ++this.#count;
    const base = { mode: 'exchange' as const, protocol: 'tcp' as const, from: `10.1.0.7:${number}`, to: '127.0.0.1:8080', port: 80 };
    this.#open.set(number, { number, handle: 1, ...base, began: new Date(Date.UTC(2026, 0, 1) + number).toISOString(), duration: 0, sent: 0, received: 0, ...more });
    return number;
  }

  /** Bytes went. */
  more(number: number, more: Partial<Flow>): void {
    this.#open.set(number, { ...this.#flow(number), ...more });
  }

  end(number: number, end: FlowEnd = { how: 'finished' }, duration = 0.5): void {
    this.#ended.push({ ...this.#flow(number), end, duration });
    this.#open.delete(number);
    this.#told++;
    if (this.#ended.length > this.remembered) this.#ended = this.#ended.slice(-this.remembered);
  }

  flows(after: number): Flows {
    const ended = this.#ended.slice(Math.max(0, after - (this.#told - this.#ended.length)));
    return { open: [...this.#open.values()], ended, missed: this.#told - after - ended.length, next: this.#told };
  }

  #flow(number: number): Flow {
    const flow = this.#open.get(number);
    if (flow === undefined) throw new Error(`flow ${number} is not open`);
    return flow;
  }
}

export class FakeHandle {
  state: State = { state: 'active' };
  stats: Stats = NOTHING;
  readonly #over = deferred<State>();

  constructor(
    readonly engine: FakeEngine,
    readonly what: string,
    readonly id: number,
  ) {}

  end(state: State): void {
    this.state = state;
    this.#over.resolve(state);
  }

  close(): Promise<void> {
    this.engine.calls.push(`close ${this.what}`);
    this.end({ state: 'closed' });
    return Promise.resolve();
  }

  closed(): Promise<State> {
    return this.#over.promise;
  }
}

export function deferred<T>(): { promise: Promise<T>; resolve: (value: T) => void; reject: (error: unknown) => void } {
  let [resolve, reject] = [(_: T) => {}, (_: unknown) => {}];
  const promise = new Promise<T>((yes, no) => ([resolve, reject] = [yes, no]));
  return { promise, resolve, reject };
}

/** Lets everything happen that waits for nothing outside. */
export async function settle(): Promise<void> {
  for (let turn = 0; turn < 5; turn++) await new Promise((resolve) => setImmediate(resolve));
}
