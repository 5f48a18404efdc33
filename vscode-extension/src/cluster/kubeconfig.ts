// Kubeconfig files, merged as kubectl does: the first to name something wins. Pure but for reading the files.

import fs from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';

import { Mistake } from '../engine/problem.js';
import type { Contexts } from './reader.js';

/** One entry of `clusters`, `users` or `contexts`, with the folder that its paths are relative to. */
interface Entry {
  readonly name: string;
  readonly body: Readonly<Record<string, unknown>>;
  readonly folder: string;
}

export interface Access {
  readonly server: string;
  readonly cluster: Entry;
  readonly user: Entry | undefined;
}

const SECTIONS = { contexts: 'context', clusters: 'cluster', users: 'user' } as const;

export class Kubeconfig {
  readonly #parse: (text: string) => unknown;
  #current: string | undefined;
  readonly #entries = { contexts: new Map<string, Entry>(), clusters: new Map<string, Entry>(), users: new Map<string, Entry>() };

  /** `parse` reads YAML. */
  constructor(parse: (text: string) => unknown) {
    this.#parse = parse;
  }

  /** Adds what one file says, after those before it. */
  add(text: string, file: string): this {
    let document: unknown;
    try {
      document = this.#parse(text);
    } catch (error) {
      throw new Mistake('kubeconfig', `${file} is not valid YAML`, 'Correct the file', { cause: error });
    }
    if (!isRecord(document)) return this;
    const current = document['current-context'];
    if (typeof current === 'string' && current !== '') this.#current ??= current;
    for (const [section, key] of Object.entries(SECTIONS) as [keyof typeof SECTIONS, string][]) {
      const list = document[section];
      for (const item of Array.isArray(list) ? list : []) {
        if (!isRecord(item) || typeof item['name'] !== 'string' || !isRecord(item[key])) continue;
        const entries = this.#entries[section];
        if (!entries.has(item['name'])) entries.set(item['name'], { name: item['name'], body: item[key], folder: path.dirname(file) });
      }
    }
    return this;
  }

  contexts(): Contexts {
    const all = [...this.#entries.contexts.values()].map(({ name, body }) => ({
      name,
      cluster: text(body['cluster']) ?? '',
      namespace: text(body['namespace']) || 'default',
    }));
    return { current: this.#current, all };
  }

  /** How to reach the cluster of a context. */
  access(name: string): Access {
    const context = this.#entries.contexts.get(name);
    if (context === undefined) throw new Mistake('no_such_context', `The kubeconfig has no context ${name}`, 'Refresh the view');
    const cluster = this.#entries.clusters.get(text(context.body['cluster']) ?? '');
    const server = text(cluster?.body['server']);
    if (cluster === undefined || server === undefined) {
      throw new Mistake('kubeconfig', `The kubeconfig has no server for context ${name}`, 'Correct its clusters');
    }
    return { server, cluster, user: this.#entries.users.get(text(context.body['user']) ?? '') };
  }
}

/** The files that kubectl would read; `one` instead of them when it is given. */
export function kubeconfigFiles(one: string | undefined, env: NodeJS.ProcessEnv = process.env): readonly string[] {
  if (one !== undefined) return [one];
  const listed = (env['KUBECONFIG'] ?? '').split(path.delimiter).filter((file) => file !== '');
  return listed.length > 0 ? listed : [path.join(os.homedir(), '.kube', 'config')];
}

/** Files that are not there are passed over, as kubectl does, but not all of them. */
export async function readKubeconfig(files: readonly string[]): Promise<Kubeconfig> {
  // Not before it is needed: the parser takes as long to load as all the rest.
  const { parse } = await import('yaml');
  const kubeconfig = new Kubeconfig(parse);
  let found = 0;
  for (const file of files) {
    try {
      kubeconfig.add(await fs.readFile(file, 'utf8'), file);
      found++;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    }
  }
  if (found === 0) {
    throw new Mistake('kubeconfig', `No kubeconfig at ${files.join(', ')}`, 'Set kubetether.kubeconfig, or KUBECONFIG');
  }
  return kubeconfig;
}

export function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

export function text(value: unknown): string | undefined {
  return typeof value === 'string' ? value : undefined;
}
