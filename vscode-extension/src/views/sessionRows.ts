// The rows of the view "Sessions", and the status bar: what this window holds, and how it stands. Pure.

import type { HeldExchange, HeldForward, HeldSession } from '../sessions/sessions.js';
import type { Row } from './row.js';
import { bytes, colorOf, count, moment, short, stateWord } from './words.js';

type Item = HeldExchange | HeldForward;

export function sessionRow({ key, context, namespace, state, since }: HeldSession, now: Date): Row {
  const calm = state.state === 'ready';
  const word = calm ? `since ${moment(since, now)}` : stateWord(state);
  return {
    id: key,
    label: namespace,
    description: context === undefined ? word : `${context} · ${word}`,
    tooltip: `Session in namespace ${namespace}: ${stateWord(state)}`,
    icon: calm ? { name: 'vm-connect' } : { name: 'vm-connect', color: colorOf(state.state) },
    kind: 'session',
    expand: 'expanded',
    spoken: `Session in namespace ${namespace}, ${stateWord(state)}`,
  };
}

export function itemRow(item: Item, now: Date): Row {
  const { key, kind, target, local, state, stats, since } = item;
  const calm = state.state === 'active';
  const traffic = `${count(stats.open, 'flow')} · ${bytes(stats.received)} in, ${bytes(stats.sent)} out`;
  const [label, said] =
    kind === 'exchange'
      ? [`${target} → ${short(local)}`, `${target} comes to ${local}`]
      : [`${short(local)} → ${target}`, `${local} leads to ${target}`];
  return {
    id: key,
    label,
    description: calm ? traffic : stateWord(state),
    tooltip: [
      `${said}: ${stateWord(state)}`,
      `${count(stats.connections, 'connection')} since ${moment(since, now)}, ${traffic}`,
      ...(kind === 'exchange' ? [item.safety] : []),
    ].join('\n'),
    icon: { name: kind === 'exchange' ? 'arrow-swap' : 'link-external', color: colorOf(state.state) },
    kind,
    spoken: `${said}, ${stateWord(state)}`,
  };
}

export interface StatusText {
  readonly text: string;
  readonly tooltip: string;
  readonly severity: 'calm' | 'warning' | 'error';
}

/** Nothing is shown while nothing is held. */
export function statusText(sessions: readonly HeldSession[]): StatusText | undefined {
  if (sessions.length === 0) return undefined;
  const items = sessions.flatMap((session) => session.items);
  const states = [...sessions, ...items].map(({ state }) => state);
  const lost = states.find(({ state }) => state === 'lost');
  // What callers notice comes before what only we do.
  const disturbed = states.find(({ state }) => state === 'pass_through') ?? states.find(({ state }) => state === 'degraded');
  const exchanges = items.filter(({ kind }) => kind === 'exchange');
  const forwards = items.length - exchanges.length;
  const what =
    exchanges.length === 1 ? `${exchanges[0]?.target}` : exchanges.length > 1 ? count(exchanges.length, 'Service') : count(forwards, 'forward');
  const tooltip = [...items.map((item) => itemRow(item, new Date()).spoken), 'Click for actions'].join('\n');
  if (lost !== undefined) return { text: `$(error) ${what}: ${stateWord({ state: 'lost' })}`, tooltip, severity: 'error' };
  if (disturbed !== undefined) {
    return { text: `$(warning) ${what}: ${stateWord({ state: disturbed.state })}`, tooltip, severity: 'warning' };
  }
  if (items.length === 0) return { text: '$(loading~spin) kubetether: connecting', tooltip, severity: 'calm' };
  return { text: `$(arrow-swap) ${what}: active`, tooltip, severity: 'calm' };
}
