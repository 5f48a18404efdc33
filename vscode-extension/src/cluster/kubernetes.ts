// Reads clusters by the API server's own lists and watches.

import { setTimeout as sleep } from 'node:timers/promises';

import { problemOf, isCancelled } from '../engine/problem.js';
import { Signal, type Disposable } from '../signal.js';
import { Api } from './api.js';
import { watchFiles } from './changes.js';
import { readKubeconfig, type Kubeconfig } from './kubeconfig.js';
import { isBehind, isOurs, serviceOf, workloadOf } from './objects.js';
import type { Contexts, NamespaceOf, Reader, ServiceInfo, Services, Workload } from './reader.js';

/** Changes that come together are told together. */
const GATHER_MS = 50;
const RETRY_FIRST_MS = 1_000;
const RETRY_MOST_MS = 30_000;

const WORKLOADS = [
  ['Deployment', 'deployments'],
  ['StatefulSet', 'statefulsets'],
  ['DaemonSet', 'daemonsets'],
] as const;

export class KubernetesReader implements Reader, Disposable {
  /** A kubeconfig file has changed. What is watched goes on as it was. */
  readonly changed = new Signal();
  readonly #files: () => Promise<readonly string[]>;
  #kubeconfig: Promise<Kubeconfig> | undefined;
  #watched: Disposable | undefined;
  readonly #apis = new Map<string, Api>();

  constructor(files: () => Promise<readonly string[]>) {
    this.#files = files;
  }

  /** Forgets what the kubeconfig said. */
  dispose(): void {
    this.#kubeconfig = undefined;
    this.#watched?.dispose();
    this.#watched = undefined;
    this.#apis.clear();
  }

  async contexts(): Promise<Contexts> {
    return (await this.#read()).contexts();
  }

  async namespaces(context: string, signal?: AbortSignal): Promise<readonly string[]> {
    const { items } = await (await this.#api(context)).list('/api/v1/namespaces', signal);
    return items.map(({ metadata }) => metadata.name).sort();
  }

  watchServices(place: NamespaceOf, listener: (services: Services) => void): Disposable {
    const over = new AbortController();
    void this.#watch(place, listener, over.signal);
    return { dispose: () => over.abort() };
  }

  async workloads({ context, namespace }: NamespaceOf, selector: Readonly<Record<string, string>>, signal?: AbortSignal): Promise<readonly Workload[]> {
    const api = await this.#api(context);
    const lists = await Promise.all(
      WORKLOADS.map(async ([kind, plural]) => {
        const { items } = await api.list(`/apis/apps/v1/namespaces/${encodeURIComponent(namespace)}/${plural}`, signal);
        return items.filter((item) => !isOurs(item) && isBehind(item, selector)).map((item) => workloadOf(kind, item));
      }),
    );
    return lists.flat();
  }

  async #watch({ context, namespace }: NamespaceOf, listener: (services: Services) => void, signal: AbortSignal): Promise<void> {
    const path = `/api/v1/namespaces/${encodeURIComponent(namespace)}/services`;
    const rows = new Map<string, ServiceInfo>();
    const tell = (extra: Partial<Services> = {}) => {
      if (!signal.aborted) listener({ services: [...rows.values()].sort(byName), ...extra });
    };
    let timer: NodeJS.Timeout | undefined;
    const tellSoon = () => {
      timer ??= setTimeout(() => {
        timer = undefined;
        tell();
      }, GATHER_MS);
    };
    let pause = RETRY_FIRST_MS;
    while (!signal.aborted) {
      try {
        const api = await this.#api(context);
        const { items, version } = await api.list(path, signal);
        rows.clear();
        for (const item of items) if (!isOurs(item)) rows.set(item.metadata.name, serviceOf(item));
        tell();
        pause = RETRY_FIRST_MS;
        for await (const { type, object } of api.watch(path, version, signal)) {
          if (type === 'ERROR') break;
          if (type === 'BOOKMARK' || isOurs(object)) continue;
          if (type === 'DELETED') rows.delete(object.metadata.name);
          else rows.set(object.metadata.name, serviceOf(object));
          tellSoon();
        }
      } catch (error) {
        const problem = problemOf(error);
        if (signal.aborted || isCancelled(problem)) break;
        tell({ problem });
      }
      // Also after a watch that ended: a server that ends each at once is not asked without end.
      await sleep(pause, undefined, { signal }).catch(() => undefined);
      pause = Math.min(pause * 2, RETRY_MOST_MS);
    }
    clearTimeout(timer);
  }

  #read(): Promise<Kubeconfig> {
    this.#kubeconfig ??= this.#readFiles();
    return this.#kubeconfig;
  }

  async #readFiles(): Promise<Kubeconfig> {
    try {
      const files = await this.#files();
      this.#watched?.dispose();
      this.#watched = watchFiles(files, () => {
        this.dispose();
        this.changed.tell();
      });
      return await readKubeconfig(files);
    } catch (error) {
      this.#kubeconfig = undefined;
      throw error;
    }
  }

  async #api(context: string): Promise<Api> {
    const access = (await this.#read()).access(context);
    let api = this.#apis.get(context);
    if (api === undefined) {
      api = new Api(access);
      this.#apis.set(context, api);
    }
    return api;
  }
}

function byName(a: ServiceInfo, b: ServiceInfo): number {
  return a.name < b.name ? -1 : a.name > b.name ? 1 : 0;
}
