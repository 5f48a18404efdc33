// Objects of Kubernetes as the views want them. Pure.

import { isRecord, text } from './kubeconfig.js';
import type { KubeObject } from './api.js';
import type { ServiceInfo, ServicePort, Workload } from './reader.js';

/** What is written on a Service that somebody holds; it has the original selector and targets. */
const NOTE = 'kubetether.dev/exchange';
/** On every object of kubetether's own. */
const MANAGED = 'app.kubernetes.io/managed-by';

export function isOurs({ metadata }: KubeObject): boolean {
  return metadata.labels?.[MANAGED] === 'kubetether';
}

export function serviceOf(object: KubeObject): ServiceInfo {
  const note = object.metadata.annotations?.[NOTE];
  const before = original(note);
  const spec = object.spec ?? {};
  const ports = Array.isArray(spec['ports']) ? spec['ports'].filter(isRecord) : [];
  return {
    name: object.metadata.name,
    type: text(spec['type']) ?? 'ClusterIP',
    ports: ports.map((port) => portOf(port, before?.targets)),
    selector: before?.selector ?? strings(spec['selector']),
    noted: note !== undefined,
  };
}

export function workloadOf(kind: string, object: KubeObject): Workload {
  const status = object.status ?? {};
  const wanted = object.spec?.['replicas'] ?? status['desiredNumberScheduled'];
  const ready = status['readyReplicas'] ?? status['numberReady'];
  return {
    kind,
    name: object.metadata.name,
    ready: typeof ready === 'number' ? ready : 0,
    wanted: typeof wanted === 'number' ? wanted : 0,
  };
}

/** Whether a workload's pods are chosen by the selector; an empty one chooses nothing. */
export function isBehind(object: KubeObject, selector: Readonly<Record<string, string>>): boolean {
  const template = object.spec?.['template'];
  const metadata = isRecord(template) ? template['metadata'] : undefined;
  const labels = strings(isRecord(metadata) ? metadata['labels'] : undefined);
  const entries = Object.entries(selector);
  return entries.length > 0 && entries.every(([key, value]) => labels[key] === value);
}

function portOf(port: Record<string, unknown>, before: Record<string, unknown> | undefined): ServicePort {
  const number = Number(port['port']);
  const protocol = text(port['protocol']) ?? 'TCP';
  return {
    name: text(port['name']),
    port: number,
    protocol,
    target: String(before?.[`${number}/${protocol}`] ?? port['targetPort'] ?? number),
  };
}

/** Undefined when there is no note, or one that cannot be read. */
function original(note: string | undefined): { readonly selector: Readonly<Record<string, string>>; readonly targets: Record<string, unknown> | undefined } | undefined {
  if (note === undefined) return undefined;
  try {
    const value: unknown = JSON.parse(note);
    const before = isRecord(value) ? value['original'] : undefined;
    if (!isRecord(before) || !isRecord(before['selector'])) return undefined;
    return { selector: strings(before['selector']), targets: isRecord(before['targetPorts']) ? before['targetPorts'] : undefined };
  } catch {
    return undefined;
  }
}

function strings(value: unknown): Readonly<Record<string, string>> {
  if (!isRecord(value)) return {};
  return Object.fromEntries(Object.entries(value).filter((entry): entry is [string, string] => typeof entry[1] === 'string'));
}
