/// <reference types="node" />
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Server } from 'node:net';

/** The version of this package. */
export declare const version: string;

/** Starts a session: reaches the cluster and announces it there. Rejects with a {@link KubetetherError}. */
export declare function connect(options?: ConnectOptions): Promise<Session>;

/** Who is there and what they hold. Takes up to `patience` seconds: whether a session lives has to be watched. */
export declare function status(options?: StatusOptions): Promise<Status>;

/** Takes away what dead sessions left; their Services are put back before. What could not be done stands in the answer. */
export declare function clean(options?: CleanOptions): Promise<Cleaned>;

/** Puts one Service back, whoever holds it. */
export declare function recover(service: string, options?: RecoverOptions): Promise<Recovered>;

/**
 * Has `listener` called with each line of the engine's log up to `level`, instead of the listener before: there is one for
 * the whole process. Returns what ends it. It does not keep the process alive; lines that come faster than they are taken
 * are lost beyond 1024.
 */
export declare function onLog(listener: (line: LogLine) => void, options?: LogOptions): () => void;

export type LogLevel = 'error' | 'warn' | 'info' | 'debug' | 'trace';

export interface LogOptions {
  /** How much is told; each level with those before it. Default: `info`. */
  readonly level?: LogLevel | undefined;
}

export interface LogLine {
  readonly level: LogLevel;
  /** The part of the engine, as `kubetether::session`. */
  readonly target: string;
  readonly message: string;
}

/** Whatever it starts can be given up: it rejects with the signal's reason, and what was begun is undone in the background. */
export interface Abortable {
  readonly signal?: AbortSignal | undefined;
}

/** How the cluster is reached: as kubectl does, unless told otherwise. */
export interface ReachOptions {
  /** The kubeconfig file. Default: as kubectl finds it. */
  readonly kubeconfig?: string | undefined;
  /** The context of the kubeconfig. Default: its current context. */
  readonly context?: string | undefined;
  /** The namespace. Default: that of the context, else `default`. */
  readonly namespace?: string | undefined;
}

/** Settings of a session. Durations are seconds. */
export interface SessionOptions extends ReachOptions {
  /** The agent's file. Default: the one in this package. */
  readonly agent?: string | undefined;
  /** A container image with the agent as its entry point, instead of the file. */
  readonly agentImage?: string | undefined;
  /** The name that others read when they find a Service held by this session. Default: `user@host`. */
  readonly who?: string | undefined;
  /** Seconds that a start may take when it names no deadline of its own. Default: 30. */
  readonly startDeadline?: number | undefined;
  /** Connections to an agent that are always kept, 1 to 8. Default: 2. */
  readonly carriers?: number | undefined;
  /** Connections to an agent that there may be while much is transferred, up to 8. Default: 4. */
  readonly mostCarriers?: number | undefined;
  /** Seconds between two heartbeats of a link. Default: 2; at least 0.1. */
  readonly heartbeat?: number | undefined;
  /** Seconds of silence after which a connection counts as lost. Default: 5; at least three heartbeats. */
  readonly heartbeatLimit?: number | undefined;
  /** Seconds that open connections wait for a lost way to the cluster. Default: 60. */
  readonly grace?: number | undefined;
  /** Seconds that an interceptor goes on after its Service was put back. Default: 2. */
  readonly linger?: number | undefined;
  /** Seconds that open connections may go on when their exchange is closed. Default: 5. */
  readonly drain?: number | undefined;
  /** The memory limit of an agent's container, in bytes. Default: 128 MiB; at least 32 MiB. */
  readonly agentMemory?: number | undefined;
  /** What the links of the session may hold in this process, in bytes. Default: 96 MiB; at least 8 MiB. */
  readonly memory?: number | undefined;
}

export interface ConnectOptions extends SessionOptions, Abortable {}

export interface StatusOptions extends ReachOptions, Abortable {
  /** All namespaces instead of one. Default: false. */
  readonly allNamespaces?: boolean | undefined;
  /** Seconds to watch whether sessions live. Default: 35. */
  readonly patience?: number | undefined;
}

export interface CleanOptions extends ReachOptions, Abortable {
  /** Only tells what would be done. Default: false. */
  readonly dryRun?: boolean | undefined;
  /** Also what belongs to sessions that live. Default: false. */
  readonly all?: boolean | undefined;
  /** All namespaces instead of one. Default: false. */
  readonly allNamespaces?: boolean | undefined;
  /** Seconds that it may take. Default: 120. */
  readonly deadline?: number | undefined;
}

export interface RecoverOptions extends ReachOptions, Abortable {
  /** Seconds that it may take. Default: 30. */
  readonly deadline?: number | undefined;
}

export interface ExchangeOptions<Handler = Listener | FetchHandler> extends Abortable {
  /** Where the Service's traffic goes. */
  readonly to: To<Handler>;
  /** Seconds that the start may take. Default: the session's `startDeadline`. */
  readonly deadline?: number | undefined;
  /** Seconds to wait for a Service that somebody else holds. Default: 0. */
  readonly wait?: number | undefined;
}

export interface ForwardOptions extends Abortable {
  /** The local address. Default: `127.0.0.1`. */
  readonly bind?: string | undefined;
  /** The local port. Default: 0, a free one. */
  readonly port?: number | undefined;
  /** Connections that may be open at once. Default: 4096. */
  readonly connections?: number | undefined;
  /** Seconds that the start may take. Default: the session's `startDeadline`. */
  readonly deadline?: number | undefined;
}

export interface CloseOptions extends Abortable {
  /** Seconds that it may take. Default: 20. It goes on in the background when it is given up. */
  readonly deadline?: number | undefined;
}

/** One endpoint, or several for several ports of a Service, by number or name. */
export type To<Handler = Listener | FetchHandler> =
  | Endpoint<Handler>
  | { readonly ports: Readonly<Record<string, Endpoint<Handler>>> };

/**
 * A port of 127.0.0.1; `host:port` or the path of a unix socket; a server; a request listener; a handler of fetch requests.
 *
 * A function with two parameters or more is a request listener, any other a handler of fetch requests. Say `{ fetch }` or
 * `{ listener }` where that is not so, as with mocks, or where TypeScript has to know what the parameters are. A server that
 * does not listen is given a port, and is closed with its exchange.
 */
export type Endpoint<Handler = Listener | FetchHandler> =
  | number
  | string
  | { readonly host?: string; readonly port: number }
  | Server
  | Handler
  | { readonly listener: Listener }
  | { readonly fetch: FetchHandler };

/** As `http.createServer` takes it; an Express application is one. */
export type Listener = (request: IncomingMessage, response: ServerResponse<IncomingMessage>) => unknown;

/** As servers of the web platform take it. A throw or rejection answers with 500, and is told by a process warning. */
export type FetchHandler = (request: Request) => Response | Promise<Response>;

/** What a session and its handles have. */
export declare abstract class Handle implements AsyncDisposable {
  protected constructor();
  /** Where it stands, now. */
  get state(): State;
  /**
   * Puts back what it changed, and resolves when that is so. May be called again.
   * Rejects with `not_restored` or `deadline` when it could not be put back. What is not done by then, or when a signal
   * aborts, goes on in the background; a server that `to` was given is closed when that is over.
   */
  close(options?: CloseOptions): Promise<void>;
  /** Keeps the process alive until it is closed. */
  ref(): this;
  /** Lets the process end: the default. */
  unref(): this;
  /** What it is, for people. */
  toString(): string;
  [Symbol.asyncDispose](): Promise<void>;
}

/** One developer's attachment to one cluster and namespace. */
export declare class Session extends Handle {
  private constructor();
  /** Its random name; its Lease is `kubetether-<id>`. */
  get id(): string;
  get namespace(): string;
  /** The kubeconfig's context; `undefined` inside a cluster. */
  get context(): string | undefined;
  /** Exchanges a Service: all its traffic comes here from when this resolves, which has been proven from inside the cluster. */
  exchange(target: string, options: ExchangeOptions<Listener>): Promise<Exchange>;
  exchange(target: string, options: ExchangeOptions): Promise<Exchange>;
  /** Opens a local port that leads to a place in the cluster: `db:5432`, `pod/db-0:5432`, `kube-dns.kube-system:53/udp`. */
  forward(destination: string, options?: ForwardOptions): Promise<Forward>;
  /**
   * The connections and UDP associations that go through its handles, one by one: those that are open, and those that ended
   * since an earlier answer, of which `after` is `next`. Without it all that is remembered: the last 1024 that ended, also of
   * handles that are closed. Who looks often enough is told of each of them once; the others are counted in `missed`.
   */
  flows(after?: number): Flows;
  /** What the cluster says of kubetether's pods in the namespace: conditions, events, last log lines. */
  evidence(options?: Abortable): Promise<readonly string[]>;
  /** A subscription of its own to what happens from now on. */
  events(options?: Abortable): Events;
  /** Waits until it is over, as asked or not, and gives the reason. Keeps the process alive only after `ref()`. */
  closed(options?: Abortable): Promise<string>;
}

/** All traffic of a Service comes here, until it is closed. */
export declare class Exchange extends Handle {
  private constructor();
  readonly session: Session;
  /** Tells the handles of a session apart: the `handle` of its events. */
  get id(): number;
  get service(): string;
  /** The ports that come here. */
  get ports(): readonly Port[];
  /** The Service's other ports, which go on to the original pods. */
  get passedThrough(): readonly number[];
  /** What holds callers should somebody die, as things are now. */
  get safety(): Safety;
  get stats(): Stats;
  /** Waits until it is over, as asked or not. Keeps the process alive only after `ref()`. */
  closed(options?: Abortable): Promise<State>;
}

/** A local port that leads to a place in the cluster, until it is closed. */
export declare class Forward extends Handle {
  private constructor();
  readonly session: Session;
  /** Tells the handles of a session apart: the `handle` of its events. */
  get id(): number;
  get destination(): string;
  /** The local `host:port`. */
  get address(): string;
  get host(): string;
  get port(): number;
  /** `url('/health')` is `http://127.0.0.1:40123/health`. */
  url(path?: string, scheme?: string): string;
  get stats(): Stats;
  /** Waits until it is over, as asked or not. Keeps the process alive only after `ref()`. */
  closed(options?: Abortable): Promise<State>;
}

/**
 * One subscription: a snapshot first, then what happens, then exactly one `closed`. It holds 256 events for a slow reader;
 * then the oldest give way, and an event `dropped` tells how many. Waiting for it does not keep the process alive.
 */
export declare class Events implements AsyncIterableIterator<Event>, AsyncDisposable {
  private constructor();
  /** How many events this subscription has lost by being slow. */
  get dropped(): number;
  next(): Promise<IteratorResult<Event, undefined>>;
  return(): Promise<IteratorResult<Event, undefined>>;
  /** Keeps the process alive until the end of the subscription. */
  ref(): this;
  /** Lets the process end: the default. */
  unref(): this;
  [Symbol.asyncIterator](): this;
  [Symbol.asyncDispose](): Promise<void>;
}

/** Why something failed. Its `cause` is the chain of what led to it. */
export declare class KubetetherError extends Error {
  private constructor();
  /** The kind of failure, the same in every language. */
  readonly code: ErrorCode;
  /** The same as a number. */
  readonly number: number;
  readonly class: 'usage' | 'cluster' | 'target' | 'agent' | 'ended' | 'internal';
  /** What it is about, as `kind/name`. */
  readonly object?: string;
  /** What to do about it. */
  readonly hint?: string;
  /** What the cluster says of the pod to blame: conditions, events, last log lines. */
  readonly evidence: readonly string[];
}

/** The codes there are; later versions have more. */
export type ErrorCode =
  | 'config'
  | 'argument'
  | 'kubeconfig'
  | 'no_such_context'
  | 'agent_missing'
  | 'local_address'
  | 'forked'
  | 'unreachable'
  | 'unauthorized'
  | 'forbidden'
  | 'cluster'
  | 'no_such_namespace'
  | 'no_such_target'
  | 'unsupported'
  | 'held'
  | 'no_such_port'
  | 'refused'
  | 'name_not_found'
  | 'lost'
  | 'agent_start'
  | 'agent_unreachable'
  | 'pass_through'
  | 'not_proven'
  | 'agent_version'
  | 'deadline'
  | 'closed'
  | 'not_restored'
  | 'cancelled'
  | 'internal';

export interface State {
  readonly state:
    | 'connecting'
    | 'ready'
    | 'starting'
    | 'active'
    | 'degraded'
    | 'pass_through'
    | 'closing'
    | 'closed'
    | 'lost';
  /** Why, in the states that have a reason. */
  readonly reason?: string;
}

/** Counters since the start. */
export interface Stats {
  /** Connections that were taken, refused ones included. */
  readonly connections: number;
  /** Those that are open now. */
  readonly open: number;
  /** Those that the target refused. */
  readonly refused: number;
  /** Bytes that went to the cluster. */
  readonly sent: number;
  /** Bytes that came from the cluster. */
  readonly received: number;
}

/** The connections of a session, and its UDP associations. */
export interface Flows {
  /** Those that are open, in the order in which they began. Of more than 4096 the latest. */
  readonly open: readonly Flow[];
  /** Those that ended since the last look, in the order in which they ended. */
  readonly ended: readonly Flow[];
  /** How many more ended since then, and are forgotten. */
  readonly missed: number;
  /** What to ask with next. */
  readonly next: number;
}

/** One connection, or one association of UDP. */
export interface Flow {
  /** Tells the flows of a session apart: counted from 1, never used twice. */
  readonly number: number;
  /** The `id` of the handle that it goes through. */
  readonly handle: number;
  readonly mode: 'exchange' | 'forward';
  readonly protocol: 'tcp' | 'udp';
  /** The address and port of the caller: of an exchange as the cluster sees it, of a forward one of this machine. */
  readonly from: string;
  /** Where it goes: the local endpoint of an exchange, the destination of a forward. */
  readonly to: string;
  /** Of an exchange the Service's port, of a forward the local one. */
  readonly port: number;
  /** When it began: RFC 3339. */
  readonly began: string;
  /** Seconds that it lasted, or lasts so far. */
  readonly duration: number;
  /** Bytes that went to the cluster. */
  readonly sent: number;
  /** Bytes that came from the cluster. */
  readonly received: number;
  /** How it ended; absent while it is open. */
  readonly end?: FlowEnd;
}

/** How a flow ended. Later versions may know more: let a `switch` have a default. */
export interface FlowEnd {
  /**
   * - `finished`: both sides were done.
   * - `closed`: cut, since its handle or the session ended.
   * - `reset_here`: by the end on this machine, the local endpoint of an exchange or the caller of a forward.
   * - `reset_there`: by the end in the cluster, the caller of an exchange or the destination of a forward.
   * - `refused`: never let through; the reason says why.
   * - `given_up`: before it was answered; by its caller, or by the interceptor, which leads it to the original pods then.
   * - `idle`: an association of UDP that was silent for too long, or had to give way to others.
   * - `lost`: what it went through is gone, as an agent; the reason says what.
   */
  readonly how:
    | 'finished'
    | 'closed'
    | 'reset_here'
    | 'reset_there'
    | 'refused'
    | 'given_up'
    | 'idle'
    | 'lost';
  /** Why, of those that were refused or lost. */
  readonly reason?: string;
}

export interface Safety {
  /** Should this process die. */
  readonly client: 'restored' | 'passes_through';
  /** Should the interceptor die. */
  readonly interceptor: 'fallback_slice' | 'two_interceptors' | 'replaced';
  /** Both, for people. */
  readonly text: string;
}

export interface Port {
  readonly servicePort: number;
  readonly local: string;
}

export interface HandleInfo extends State {
  readonly handle: number;
  readonly mode: string;
  readonly target: string;
  /** RFC 3339. */
  readonly since: string;
}

/** One happening. Later versions have more types: let a `switch` have a default. */
export type Event =
  | ({ readonly type: 'snapshot'; readonly since: string; readonly handles: readonly HandleInfo[] } & State)
  | ({ readonly type: 'session' } & State)
  | ({ readonly type: 'handle' } & HandleInfo)
  | { readonly type: 'resumed'; readonly handle?: number; readonly gap: number }
  | { readonly type: 'progress'; readonly handle?: number; readonly step: number; readonly of: number; readonly what: string }
  | { readonly type: 'notice'; readonly handle?: number; readonly text: string }
  | ({ readonly type: 'safety'; readonly handle: number } & Safety)
  | { readonly type: 'dropped'; readonly count: number }
  | { readonly type: 'closed'; readonly reason: string };

/** What may not be looked at. */
export interface Unseen {
  readonly what: string;
  readonly why: string;
}

export interface Status {
  readonly sessions: readonly SessionStatus[];
  readonly services: readonly ServiceStatus[];
  /** Objects of kubetether's that belong to nobody who is there. */
  readonly leftovers: readonly string[];
  readonly unseen: readonly Unseen[];
}

export interface SessionStatus {
  readonly namespace: string;
  readonly lease: string;
  readonly who: string | null;
  readonly started: string | null;
  readonly life: 'unknown' | 'lives' | 'dead';
}

export interface ServiceStatus {
  readonly namespace: string;
  readonly service: string;
  readonly mode: string;
  readonly ports: readonly number[];
  readonly lease: string;
  readonly who: string | null;
  readonly since: string | null;
  readonly life: 'unknown' | 'lives' | 'dead';
  readonly condition: 'active' | 'pass_through' | 'broken' | 'unknown';
  readonly reason?: string;
}

export interface Cleaned {
  readonly restored: readonly { readonly namespace: string; readonly object: string; readonly leases: readonly string[] }[];
  readonly deleted: readonly { readonly namespace: string; readonly object: string }[];
  readonly left: readonly { readonly namespace: string; readonly object: string; readonly why: string; readonly error: ErrorInfo | null }[];
  readonly unseen: readonly Unseen[];
}

/** An error as part of an answer. */
export interface ErrorInfo {
  readonly code: ErrorCode;
  readonly number: number;
  readonly class: KubetetherError['class'];
  readonly message: string;
  readonly object?: string;
  readonly causes: readonly string[];
  readonly evidence: readonly string[];
  readonly hint?: string;
}

export interface Recovered {
  readonly namespace: string;
  readonly service: string;
  readonly changed: boolean;
  readonly heldBy: readonly string[];
  readonly untold: readonly Unseen[];
}
