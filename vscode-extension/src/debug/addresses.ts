// Addresses of forwards, put into a launch configuration: variables of its environment, and ${kubetether:NAME}. Pure.

import { Mistake } from '../engine/problem.js';

export interface Address {
  readonly host: string;
  readonly port: number;
}

export interface Configuration {
  readonly type: string;
  readonly name: string;
  readonly request: string;
  readonly [key: string]: unknown;
}

/** Debuggers that take the environment as a list of { name, value }. */
const LISTS: Readonly<Record<string, string>> = { cppdbg: 'environment', cppvsdbg: 'environment' };
const PLACEHOLDER = /\$\{kubetether:([^}]*)\}/g;

/** `DB_HOST`, `DB_PORT` and `DB_ADDRESS` for each name. */
export function variablesOf(addresses: ReadonlyMap<string, Address>): Record<string, string> {
  const variables: Record<string, string> = {};
  for (const [name, { host, port }] of addresses) {
    variables[`${name}_HOST`] = host;
    variables[`${name}_PORT`] = String(port);
    variables[`${name}_ADDRESS`] = join({ host, port });
  }
  return variables;
}

/** The configuration with the addresses in it. What it says itself of a variable stays. */
export function withAddresses<T extends Configuration>(configuration: T, addresses: ReadonlyMap<string, Address>): T {
  const result: Record<string, unknown> = { ...configuration };
  const list = LISTS[configuration.type];
  if (list === undefined) {
    const env = configuration['env'];
    // lldb-dap takes a list of NAME=value, too.
    if (Array.isArray(env)) result['env'] = [...Object.entries(variablesOf(addresses)).map((pair) => pair.join('=')), ...env.map(filled)];
    else result['env'] = { ...variablesOf(addresses), ...(filled(env ?? {}) as object) };
  } else {
    const own = Array.isArray(configuration[list]) ? configuration[list].map(filled) : [];
    const named = new Set(own.map((each) => (each as { name?: unknown } | null)?.name));
    const ours = Object.entries(variablesOf(addresses)).filter(([name]) => !named.has(name));
    result[list] = [...ours.map(([name, value]) => ({ name, value })), ...own];
  }
  if (configuration['args'] !== undefined) result['args'] = filled(configuration['args']);
  return result as T;

  function filled(value: unknown): unknown {
    if (typeof value === 'string') return value.replace(PLACEHOLDER, (_, name: string) => addressOf(name, addresses));
    if (Array.isArray(value)) return value.map(filled);
    if (typeof value !== 'object' || value === null) return value;
    return Object.fromEntries(Object.entries(value).map(([key, each]) => [key, filled(each)]));
  }
}

function addressOf(name: string, addresses: ReadonlyMap<string, Address>): string {
  const address = addresses.get(name);
  if (address !== undefined) return join(address);
  const known = [...addresses.keys()].join(', ');
  throw new Mistake(
    'config',
    `\${kubetether:${name}} has no forward`,
    known === '' ? 'Add it to kubetether.forwards' : `Add it to kubetether.forwards, which has ${known}`,
  );
}

function join({ host, port }: Address): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
}
