// The block `kubetether` of a launch configuration, read. Pure.

import { Mistake } from '../engine/problem.js';

export interface Block {
  readonly exchange?: { readonly service: string; readonly port: number };
  readonly namespace?: string;
  readonly context?: string;
  /** Destinations in the cluster by the names of their variables. */
  readonly forwards: ReadonlyMap<string, string>;
}

const KEYS = ['exchange', 'port', 'namespace', 'context', 'forwards'];
const NAME = /^[A-Za-z_][A-Za-z0-9_]*$/;

/** Throws a Mistake that names the key. */
export function readBlock(value: unknown): Block {
  const block = record(value, 'kubetether');
  const unknown = Object.keys(block).find((key) => !KEYS.includes(key));
  if (unknown !== undefined) throw wrong(`kubetether.${unknown} is not known`, `Known are ${KEYS.join(', ')}`);

  const [service, namespace, context] = [word(block, 'exchange'), word(block, 'namespace'), word(block, 'context')];
  const { port } = block;
  if (port !== undefined && !(Number.isInteger(port) && Number(port) >= 1 && Number(port) <= 65535)) {
    throw wrong('kubetether.port is not a port', 'Write the port where the program listens, as 8080');
  }
  if (service !== undefined && port === undefined) {
    throw wrong('kubetether.port is missing', 'Write the port where the program listens, as 8080');
  }
  if (service === undefined && port !== undefined) throw wrong('kubetether.exchange is missing', 'Name the Service that the port answers for');

  const forwards = new Map<string, string>();
  for (const [name, destination] of Object.entries(record(block['forwards'] ?? {}, 'kubetether.forwards'))) {
    if (!NAME.test(name)) throw wrong(`kubetether.forwards: ${name} cannot name variables`, 'Use letters, digits and _');
    if (typeof destination !== 'string' || !/:\d+/.test(destination)) {
      throw wrong(`kubetether.forwards.${name} names no host and port`, 'Write it as db:5432');
    }
    forwards.set(name, destination);
  }
  if (service === undefined && forwards.size === 0) {
    throw wrong('kubetether has neither exchange nor forwards', 'Name a Service to exchange, or what to forward');
  }
  return {
    ...(service === undefined ? {} : { exchange: { service, port: Number(port) } }),
    ...(namespace === undefined ? {} : { namespace }),
    ...(context === undefined ? {} : { context }),
    forwards,
  };
}

/** Equal for blocks that ask for the same. */
export function blockKey({ exchange, namespace, context, forwards }: Block): string {
  return JSON.stringify([exchange ?? null, namespace ?? null, context ?? null, [...forwards]]);
}

function word(block: Readonly<Record<string, unknown>>, key: string): string | undefined {
  const value = block[key];
  if (value === undefined) return undefined;
  if (typeof value !== 'string' || value.trim() === '') throw wrong(`kubetether.${key} is not a name`, `Write it as a text, or leave ${key} out`);
  return value;
}

function record(value: unknown, what: string): Record<string, unknown> {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw wrong(`${what} is not an object`, 'Write { … }');
  return value as Record<string, unknown>;
}

function wrong(message: string, hint: string): Mistake {
  return new Mistake('config', message, hint);
}
