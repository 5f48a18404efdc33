// The commands: what each asks, and what it does.

import * as vscode from 'vscode';

import { askLocalPort, askService, askServicePort, confirm } from './ask.js';
import type { NamespaceOf, ServiceInfo } from './cluster/reader.js';
import type { Ctx } from './ctx.js';
import { debugInCluster } from './debug/debugInCluster.js';
import { Mistake } from './engine/problem.js';
import type { HeldForward } from './sessions/sessions.js';
import { openTerminal } from './views/terminal.js';
import type { ClusterNode } from './views/clusterTree.js';
import type { SessionNode } from './views/sessionsTree.js';

type Command = (ctx: Ctx, node?: ClusterNode & SessionNode) => unknown;

/** As in package.json, which a test compares. */
export const COMMANDS: Readonly<Record<string, Command>> = {
  'kubetether.exchange': exchange,
  'kubetether.debug': debug,
  'kubetether.forward': forward,
  'kubetether.stop': stop,
  'kubetether.stopAll': (ctx) => ctx.notices.attempt('Not all was put back', () => ctx.sessions.stopAll()),
  'kubetether.copyAddress': (_, node) => node !== undefined && 'local' in node && vscode.env.clipboard.writeText(node.local),
  'kubetether.openInBrowser': openInBrowser,
  'kubetether.putBack': putBack,
  'kubetether.terminal': (ctx) => openTerminal(ctx.sessions),
  'kubetether.showTraffic': async (ctx, node) => ctx.trafficPanel.show(node === undefined ? undefined : await keyOf(ctx, node)),
  // Of the view's title, which is told the row that has the focus.
  'kubetether.showAllTraffic': (ctx) => ctx.trafficPanel.show(),
  'kubetether.pauseTraffic': (ctx) => ctx.trafficPanel.pause(true),
  'kubetether.resumeTraffic': (ctx) => ctx.trafficPanel.pause(false),
  'kubetether.clearTraffic': (ctx) => ctx.traffic.clear(),
  'kubetether.filter': filter,
  'kubetether.refresh': (ctx) => ctx.refresh(),
  'kubetether.actions': actions,
  'kubetether.showLog': (ctx) => ctx.notices.log.show(),
  'kubetether.showMore': (ctx, node) => node !== undefined && ctx.tree.showMore(node),
};

async function exchange(ctx: Ctx, node?: ClusterNode): Promise<void> {
  const chosen = await serviceOf(ctx, node, 'Exchange Service');
  if (chosen === undefined) return;
  const { place, service } = chosen;
  const port = await askLocalPort(service, 'Exchange Service');
  if (port === undefined) return;
  await ctx.notices.attempt(`${service.name} was not exchanged`, () =>
    ctx.notices.during(`Exchanging ${service.name}`, async (signal, progress) =>
      ctx.sessions.exchange(await ctx.placeOf(place), service.name, port, { signal, progress }),
    ),
  );
}

async function debug(ctx: Ctx, node?: ClusterNode): Promise<void> {
  const chosen = await serviceOf(ctx, node, 'Debug in Cluster');
  if (chosen === undefined) return;
  await ctx.notices.attempt(`${chosen.service.name} cannot be debugged`, () => debugInCluster(chosen.place, chosen.service));
}

async function forward(ctx: Ctx, node?: ClusterNode): Promise<void> {
  const chosen = await serviceOf(ctx, node, 'Forward Port');
  if (chosen === undefined) return;
  const { place, service } = chosen;
  const port = node?.port ?? (await askServicePort(service, 'Forward Port'));
  if (port === undefined) return;
  const destination = `${service.name}:${port}`;
  await ctx.notices.attempt(`${destination} was not forwarded`, () =>
    ctx.notices.during(`Forwarding ${destination}`, async (signal, progress) =>
      ctx.sessions.forward(await ctx.placeOf(place), destination, { signal, progress }),
    ),
  );
}

/** What the row stands for; from the palette, one of what there is. */
async function stop(ctx: Ctx, node?: ClusterNode & SessionNode): Promise<void> {
  const key = await keyOf(ctx, node);
  if (key === undefined) return;
  await ctx.notices.attempt('It was not put back', () =>
    ctx.notices.during('Stopping', () => ctx.sessions.stop(key)),
  );
}

async function keyOf(ctx: Ctx, node?: ClusterNode & SessionNode): Promise<string | undefined> {
  if (node?.service !== undefined && node.context !== undefined && node.namespace !== undefined) {
    return ctx.sessions.exchangeOf(node.service.name, { context: node.context, namespace: node.namespace })?.key;
  }
  if (node?.key !== undefined) return node.key;
  const items = ctx.sessions.list().flatMap((session) => session.items);
  if (items.length <= 1) return items[0]?.key ?? ctx.sessions.list()[0]?.key;
  const picks = items.map(({ key, kind, target, local }) => ({ label: target, description: `${kind} · ${local}`, key }));
  return (await vscode.window.showQuickPick(picks, { title: 'Stop', placeHolder: 'What to stop' }))?.key;
}

async function openInBrowser(_: Ctx, node?: ClusterNode & SessionNode): Promise<void> {
  if (node === undefined || !('local' in node)) return;
  // In a remote window the editor brings the port to where the browser is.
  await vscode.env.openExternal(await vscode.env.asExternalUri(vscode.Uri.parse(`http://${(node as HeldForward).local}/`)));
}

async function putBack(ctx: Ctx, node?: ClusterNode): Promise<void> {
  if (node?.service === undefined || node.context === undefined || node.namespace === undefined) return;
  const place = { context: node.context, namespace: node.namespace };
  const { name } = node.service;
  const detail = 'Its traffic goes to the original pods again. Who holds it loses it.';
  if (!(await confirm(`Put ${name} back?`, detail, 'Put Back'))) return;
  await ctx.notices.attempt(`${name} was not put back`, () =>
    ctx.notices.during(`Putting ${name} back`, async (signal) =>
      (await ctx.engine()).recover(name, { ...(await ctx.placeOf(place)), signal }),
    ),
  );
}

async function filter(ctx: Ctx): Promise<void> {
  const text = await vscode.window.showInputBox({ title: 'Filter Services', prompt: 'Part of the name; empty shows all', value: ctx.tree.filter });
  if (text !== undefined) ctx.setFilter(text.trim());
}

async function actions(ctx: Ctx): Promise<void> {
  const items = ctx.sessions.list().flatMap((session) => session.items);
  const picks = [
    ...items.map(({ key, kind, target, local }) => ({
      label: `$(debug-stop) Stop ${target}`,
      description: `${kind} · ${local}`,
      run: () => ctx.notices.attempt('It was not put back', () => ctx.notices.during('Stopping', () => ctx.sessions.stop(key))),
    })),
    { label: '$(stop-circle) Stop All', run: () => vscode.commands.executeCommand('kubetether.stopAll') },
    { label: '$(pulse) Show Traffic', run: () => ctx.trafficPanel.show() },
    { label: '$(list-tree) Show Sessions', run: () => vscode.commands.executeCommand('kubetether.sessions.focus') },
    { label: '$(output) Show Log', run: () => ctx.notices.log.show() },
  ];
  await (await vscode.window.showQuickPick(picks, { title: 'kubetether' }))?.run();
}

/** That of the row, else one that is asked for. */
async function serviceOf(ctx: Ctx, node: ClusterNode | undefined, title: string): Promise<{ place: NamespaceOf; service: ServiceInfo } | undefined> {
  if (node?.service !== undefined && node.context !== undefined && node.namespace !== undefined) {
    return { place: { context: node.context, namespace: node.namespace }, service: node.service };
  }
  return ctx.notices.attempt('No Service can be chosen', async () => {
    const place = await ctx.defaultPlace();
    if (place === undefined) throw new Mistake('no_such_context', 'The kubeconfig has no current context', 'Set kubetether.context');
    const service = await askService(ctx.reader, place, title);
    return service === undefined ? undefined : { place, service };
  });
}
