// The API server's lists and watches, in pages, so that no answer blocks the extension host.

import https from 'node:https';
import http from 'node:http';
import type { IncomingMessage } from 'node:http';

import { Mistake } from '../engine/problem.js';
import { credentialsOf, type Credentials } from './credentials.js';
import type { Access } from './kubeconfig.js';

/** About 2 ms of parsing for Services. */
const PAGE = 100;
const DEADLINE_MS = 15_000;
/** The server ends a watch after this long; then another one begins. */
const WATCH_SECONDS = 240;

export interface KubeObject {
  readonly metadata: {
    readonly name: string;
    readonly labels?: Readonly<Record<string, string>>;
    readonly annotations?: Readonly<Record<string, string>>;
  };
  readonly spec?: Readonly<Record<string, unknown>>;
  readonly status?: Readonly<Record<string, unknown>>;
}

export interface WatchEvent {
  readonly type: 'ADDED' | 'MODIFIED' | 'DELETED' | 'BOOKMARK' | 'ERROR';
  readonly object: KubeObject & { readonly code?: number; readonly message?: string };
}

export class Api {
  #credentials: Promise<Credentials> | undefined;
  readonly #access: Access;

  constructor(access: Access) {
    this.#access = access;
  }

  /** All objects of a list, and the version to watch from. */
  async list(path: string, signal?: AbortSignal): Promise<{ items: KubeObject[]; version: string }> {
    const items: KubeObject[] = [];
    let next: string | undefined;
    let version = '';
    do {
      const query = new URLSearchParams({ limit: String(PAGE), ...(next === undefined ? {} : { continue: next }) });
      const page = (await this.#json(`${path}?${query}`, signal)) as {
        items?: KubeObject[];
        metadata?: { continue?: string; resourceVersion?: string };
      };
      items.push(...(page.items ?? []));
      version = page.metadata?.resourceVersion ?? '';
      next = page.metadata?.continue || undefined;
    } while (next !== undefined);
    return { items, version };
  }

  /** Until the server ends it, or the signal. */
  async *watch(path: string, version: string, signal: AbortSignal): AsyncGenerator<WatchEvent> {
    const query = new URLSearchParams({
      watch: 'true',
      allowWatchBookmarks: 'true',
      resourceVersion: version,
      timeoutSeconds: String(WATCH_SECONDS),
    });
    const response = await this.#request(`${path}?${query}`, signal);
    response.setEncoding('utf8');
    let rest = '';
    for await (const chunk of response as AsyncIterable<string>) {
      const lines = (rest + chunk).split('\n');
      rest = lines.pop() ?? '';
      for (const line of lines) if (line !== '') yield JSON.parse(line) as WatchEvent;
    }
  }

  async #json(path: string, signal?: AbortSignal): Promise<unknown> {
    const limit = AbortSignal.timeout(DEADLINE_MS);
    const response = await this.#request(path, signal === undefined ? limit : AbortSignal.any([signal, limit]));
    return JSON.parse(await textOf(response));
  }

  async #request(path: string, signal: AbortSignal): Promise<IncomingMessage> {
    this.#credentials ??= credentialsOf(this.#access);
    let credentials: Credentials;
    try {
      credentials = await this.#credentials;
    } catch (error) {
      // The next one asks anew.
      this.#credentials = undefined;
      throw error;
    }
    const url = new URL(path.replace(/^\//, ''), this.#access.server.replace(/\/?$/, '/'));
    const options = { ...credentials.tls, headers: { accept: 'application/json', ...credentials.headers }, signal };
    const response = await new Promise<IncomingMessage>((resolve, reject) => {
      const request = credentials.tls.agent === undefined ? (url.protocol === 'http:' ? http : https).get(url, options) : through(credentials.tls.agent, url, options);
      // The connection may be silent for as long as nothing happens; its beginning, a proxy's answer included, and the answer's may not.
      const limit = setTimeout(() => request.destroy(new Error(`no answer within ${DEADLINE_MS / 1000} s`)), DEADLINE_MS);
      request.once('response', resolve);
      for (const event of ['response', 'close']) request.once(event, () => clearTimeout(limit));
      request.on('error', (error) => reject(signal.aborted && signal.reason instanceof Error && signal.reason.name === 'AbortError' ? signal.reason : unreachable(url, error)));
    });
    const status = response.statusCode ?? 0;
    if (status < 400) return response;
    if (status === 401) this.#credentials = undefined;
    throw refusal(status, await textOf(response));
  }
}

/** Not by `get`: the editor has put its own in the place of that, which goes through the editor's proxy instead of this one. */
function through(agent: http.Agent, url: URL, options: http.RequestOptions): http.ClientRequest {
  const { protocol, hostname, port, pathname, search } = url;
  // It cannot see by whom it is called.
  Object.assign(agent, { protocol });
  const host = hostname.replace(/^\[|\]$/g, '');
  const request = new http.ClientRequest({ ...options, agent, protocol, host, port: port === '' ? (protocol === 'http:' ? 80 : 443) : port, path: pathname + search });
  request.end();
  return request;
}

async function textOf(response: IncomingMessage): Promise<string> {
  response.setEncoding('utf8');
  let whole = '';
  for await (const chunk of response as AsyncIterable<string>) whole += chunk;
  return whole;
}

function unreachable(url: URL, cause: Error): Mistake {
  return new Mistake('unreachable', `The cluster at ${url.host} does not answer: ${cause.message}`, 'Check that it runs and that VPN is on', { cause });
}

const CODES: Readonly<Record<number, [code: string, hint: string]>> = {
  401: ['unauthorized', 'Log in to the cluster again'],
  403: ['forbidden', 'Ask for the right, or name a namespace of yours in kubetether.namespace'],
  410: ['gone', 'It is read again'],
};

function refusal(status: number, body: string): Mistake {
  let message = body.trim();
  try {
    message = (JSON.parse(body) as { message?: string }).message ?? message;
  } catch {
    // No Status object: the text itself is what there is.
  }
  const [code, hint] = CODES[status] ?? ['cluster', undefined];
  return new Mistake(code, message === '' ? `The cluster answered ${status}` : message.slice(0, 500), hint);
}
