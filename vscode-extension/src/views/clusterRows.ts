// The rows of the view "Cluster": contexts, namespaces, Services, and what a Service has. Pure.

import type { Contexts, NamespaceOf, ServiceInfo, Services, Workload } from '../cluster/reader.js';
import type { HeldExchange } from '../sessions/sessions.js';
import { noteRow, problemRows, type Row } from './row.js';
import { colorOf, short, stateWord } from './words.js';

/** Who holds a Service that this window does not. */
export interface Holder {
  readonly who: string;
  readonly life: 'unknown' | 'lives' | 'dead';
}

/** Rows that are shown before "Show more", and with each of those. */
export const PAGE = 200;

export function contextRows({ current, all }: Contexts): Row[] {
  if (all.length === 0) return [noteRow('contexts', 'The kubeconfig has no contexts')];
  const first = all.filter(({ name }) => name === current);
  return [...first, ...all.filter(({ name }) => name !== current)].map(({ name, cluster }) => {
    const isCurrent = name === current;
    return {
      id: contextId(name),
      label: name,
      ...(cluster === name || cluster === '' ? {} : { description: cluster }),
      tooltip: isCurrent ? `Context ${name}, the current one` : `Context ${name}`,
      icon: { name: isCurrent ? 'vm-active' : 'vm' },
      kind: 'context',
      expand: isCurrent ? 'expanded' : 'collapsed',
      spoken: isCurrent ? `Context ${name}, current` : `Context ${name}`,
    };
  });
}

/** The context's own namespace comes first, and is open. */
export function namespaceRows(context: string, own: string, names: readonly string[]): Row[] {
  const first = names.includes(own) ? [own] : [];
  return [...first, ...names.filter((name) => name !== own)].map((name) => ({
    id: namespaceId({ context, namespace: name }),
    label: name,
    icon: { name: 'symbol-namespace' },
    kind: 'namespace',
    expand: name === own ? 'expanded' : 'collapsed',
    spoken: `Namespace ${name}`,
  }));
}

export interface ServicesView {
  readonly filter: string;
  /** How many rows at most. */
  readonly shown: number;
  readonly ours: (service: string) => HeldExchange | undefined;
  readonly holder: (service: string) => Holder | undefined;
}

export function serviceRows(place: NamespaceOf, { services, problem }: Services, view: ServicesView): Row[] {
  const id = namespaceId(place);
  const rows: Row[] = problem === undefined ? [] : problemRows(id, problem);
  const wanted = view.filter.toLowerCase();
  const matching = services.filter(({ name }) => name.toLowerCase().includes(wanted));
  rows.push(...matching.slice(0, view.shown).map((service) => serviceRow(place, service, view)));
  const rest = matching.length - view.shown;
  if (rest > 0) rows.push(moreRow(id, rest));
  if (rows.length > 0) return rows;
  return [noteRow(id, services.length > 0 ? `No Service has “${view.filter}” in its name` : 'There are no Services')];
}

export function serviceRow(place: NamespaceOf, service: ServiceInfo, view: Pick<ServicesView, 'ours' | 'holder'>): Row {
  const { name, type } = service;
  const ports = service.ports.map(({ port, protocol }) => (protocol === 'TCP' ? String(port) : `${port}/${protocol}`)).join(', ');
  const base = { id: serviceId(place, name), label: name, expand: 'collapsed' } as const;
  const ours = view.ours(name);
  if (ours !== undefined) {
    const said = `comes to ${ours.local}`;
    return {
      ...base,
      description: `${ports} → ${short(ours.local)}`,
      tooltip: `Service ${name} ${said}: ${stateWord(ours.state)}`,
      icon: { name: 'arrow-swap', color: colorOf(ours.state.state) },
      kind: 'service-ours',
      spoken: `Service ${name}, ${said}, ${stateWord(ours.state)}`,
    };
  }
  if (service.noted) {
    const holder = view.holder(name);
    const said = holder === undefined ? 'exchanged' : heldBy(holder);
    return {
      ...base,
      description: `${ports} · ${said}`,
      tooltip: `Service ${name} is ${said}`,
      icon: { name: 'lock', color: holder?.life === 'dead' ? 'charts.red' : 'charts.yellow' },
      kind: 'service-held',
      spoken: `Service ${name}, ${said}`,
    };
  }
  return {
    ...base,
    description: type === 'ClusterIP' ? ports : `${ports} · ${type}`,
    tooltip: `Service ${name}`,
    icon: { name: 'symbol-interface' },
    kind: 'service',
    spoken: ports === '' ? `Service ${name}, no ports` : `Service ${name}, ports ${ports}`,
  };
}

/** Ports first, then what answers behind them. */
export function detailRows(place: NamespaceOf, service: ServiceInfo, workloads: readonly Workload[]): Row[] {
  const id = serviceId(place, service.name);
  const ports = service.ports.map(({ name, port, protocol, target }): Row => {
    const to = target === String(port) ? '' : ` → ${target}`;
    return {
      id: `${id}/port/${port}/${protocol}`,
      label: `${port}${to}`,
      description: [name, protocol === 'TCP' ? undefined : protocol].filter((word) => word !== undefined).join(' · '),
      icon: { name: 'plug' },
      kind: 'port',
      spoken: `Port ${port}${name === undefined ? '' : `, ${name}`}, ${protocol}`,
    };
  });
  const behind = workloads.map(({ kind, name, ready, wanted }): Row => ({
    id: `${id}/workload/${kind}/${name}`,
    label: name,
    description: `${kind} · ${ready} of ${wanted} ready`,
    icon: ready < wanted || ready === 0 ? { name: 'server-process', color: 'charts.yellow' } : { name: 'server-process' },
    kind: 'workload',
    spoken: `${kind} ${name}, ${ready} of ${wanted} ready`,
  }));
  return [...ports, ...(behind.length > 0 ? behind : [noteRow(id, 'No workload is behind it')])];
}

export function contextId(context: string): string {
  return `context/${context}`;
}

export function namespaceId({ context, namespace }: NamespaceOf): string {
  return `${contextId(context)}/namespace/${namespace}`;
}

export function serviceId(place: NamespaceOf, service: string): string {
  return `${namespaceId(place)}/service/${service}`;
}

function heldBy({ who, life }: Holder): string {
  return life === 'dead' ? `left by ${who}, who is gone` : `held by ${who}`;
}

function moreRow(id: string, rest: number): Row {
  const label = `Show ${Math.min(rest, PAGE)} more of ${rest}`;
  return {
    id: `${id}/more`,
    label,
    icon: { name: 'ellipsis' },
    kind: 'more',
    spoken: label,
    command: { id: 'kubetether.showMore', title: 'Show More' },
  };
}
