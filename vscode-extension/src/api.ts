// What other extensions may use: `vscode.extensions.getExtension('kubetether.kubetether').activate()`. Only added to.

import type { Place } from './engine/engine.js';
import type { Sessions } from './sessions/sessions.js';

/** Version 1. */
export interface KubetetherApi {
  readonly version: 1;
  /** A way into a cluster. It is opened when something is started in it, and ends with the last of that. */
  startSession(place?: Place): ApiSession;
}

export interface ApiSession {
  /** Resolves when the Service's traffic has been seen to arrive at the local port. */
  exchange(service: string, options: { readonly port: number; readonly signal?: AbortSignal }): Promise<ApiHandle>;
  /** Resolves when the local port leads to the destination, as `db:5432`. */
  forward(destination: string, options?: { readonly port?: number; readonly signal?: AbortSignal }): Promise<ApiForward>;
}

export interface ApiHandle {
  /** Puts back what it changed, and resolves when that is so. */
  close(): Promise<void>;
}

export interface ApiForward extends ApiHandle {
  readonly host: string;
  readonly port: number;
}

export function apiOf(sessions: Sessions): KubetetherApi {
  return {
    version: 1,
    startSession: (place = {}) => ({
      async exchange(service, { port, signal }) {
        const { key } = await sessions.exchange(place, service, port, { signal });
        return { close: () => sessions.stop(key) };
      },
      async forward(destination, options = {}) {
        const { key, host, port } = await sessions.forward(place, destination, options);
        return { host, port, close: () => sessions.stop(key) };
      },
    }),
  };
}
