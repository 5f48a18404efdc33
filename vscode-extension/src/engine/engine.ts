// The one door to the engine. Nothing else here imports its module, and tests give their own.

import { setImmediate } from 'node:timers/promises';

import type {
  Cleaned,
  Event,
  Flow,
  FlowEnd,
  Flows,
  LogLine,
  LogLevel,
  Recovered,
  SafetyText,
  State,
  Stats,
  Status,
} from './shapes.js';

export type { Cleaned, Event, Flow, FlowEnd, Flows, LogLevel, LogLine, Recovered, State, Stats, Status };

/** Which cluster, and where in it. What is left out is as kubectl has it. */
export interface Place {
  readonly kubeconfig?: string | undefined;
  readonly context?: string | undefined;
  readonly namespace?: string | undefined;
}

export interface Abortable {
  readonly signal?: AbortSignal | undefined;
}

/** What can be stopped, and what can end by itself. */
export interface Handle {
  readonly state: State;
  close(): Promise<void>;
}

export interface EngineSession extends Handle {
  readonly id: string;
  readonly namespace: string;
  readonly context: string | undefined;
  exchange(target: string, options: Abortable & { readonly to: number | string }): Promise<EngineExchange>;
  forward(destination: string, options: Abortable & { readonly port?: number | undefined }): Promise<EngineForward>;
  events(): AsyncIterable<Event>;
  /** Open flows, and those that have ended since the answer whose `next` is given. Takes no time. */
  flows(after?: number): Flows;
  closed(): Promise<string>;
}

export interface EngineExchange extends Handle {
  readonly id: number;
  readonly service: string;
  readonly ports: readonly { readonly servicePort: number; readonly local: string }[];
  readonly safety: SafetyText;
  readonly stats: Stats;
  closed(): Promise<State>;
}

export interface EngineForward extends Handle {
  readonly id: number;
  readonly destination: string;
  readonly address: string;
  readonly host: string;
  readonly port: number;
  readonly stats: Stats;
  closed(): Promise<State>;
}

export interface Engine {
  connect(options: Place & Abortable): Promise<EngineSession>;
  status(options: Place & Abortable & { readonly patience?: number }): Promise<Status>;
  clean(options: Place & Abortable): Promise<Cleaned>;
  recover(service: string, options: Place & Abortable): Promise<Recovered>;
  onLog(listener: (line: LogLine) => void, options: { readonly level: LogLevel }): () => void;
}

/** That of the package. Its native module is loaded by the first call, not by this one, and in a turn of the event loop of its own. */
export async function loadEngine(): Promise<Engine> {
  const { clean, connect, onLog, recover, status } = await import('kubetether');
  await setImmediate();
  return { clean, connect, onLog, recover, status };
}
