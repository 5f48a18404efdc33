// What the views read of clusters: contexts, namespaces, Services with what is behind them. An interface of its own, since
// the engine does not list yet: see "Reading the cluster" in DESIGN.md.

import type { Disposable } from '../signal.js';
import type { Problem } from '../engine/problem.js';

export interface ContextInfo {
  readonly name: string;
  readonly cluster: string;
  /** The one that the context names, else `default`. */
  readonly namespace: string;
}

export interface Contexts {
  readonly current: string | undefined;
  readonly all: readonly ContextInfo[];
}

export interface ServicePort {
  readonly name?: string | undefined;
  readonly port: number;
  readonly protocol: string;
  /** The port's number or name in the pods. */
  readonly target: string;
}

export interface ServiceInfo {
  readonly name: string;
  readonly type: string;
  readonly ports: readonly ServicePort[];
  /** The original one, also while the Service is exchanged. */
  readonly selector: Readonly<Record<string, string>>;
  /** It carries kubetether's note: somebody holds it. */
  readonly noted: boolean;
}

export interface Workload {
  /** As `Deployment`. */
  readonly kind: string;
  readonly name: string;
  readonly ready: number;
  readonly wanted: number;
}

/** Services as they are now, or why they cannot be read; then `services` are the last that were. */
export interface Services {
  readonly services: readonly ServiceInfo[];
  readonly problem?: Problem | undefined;
}

export interface NamespaceOf {
  readonly context: string;
  readonly namespace: string;
}

export interface Reader {
  contexts(): Promise<Contexts>;
  namespaces(context: string, signal?: AbortSignal): Promise<readonly string[]>;
  /** Tells the Services when they have been read, and at each change, until it is disposed. */
  watchServices(place: NamespaceOf, listener: (services: Services) => void): Disposable;
  workloads(place: NamespaceOf, selector: Readonly<Record<string, string>>, signal?: AbortSignal): Promise<readonly Workload[]>;
}
