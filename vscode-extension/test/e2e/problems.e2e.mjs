// What does not work is told where it stands, with what to do. One editor with a window for each.

import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { after, before, test } from 'node:test';

import kubetether from '../../../bindings-node/lib/index.js';
import { startCluster, until } from '../../../bindings-node/test/support/cluster.mjs';
import { freePort, openEditor, serve } from './editor.mjs';

let cluster, first;

before(async () => {
  cluster = await startCluster({ services: ['orders'] });
  first = await openEditor({ name: 'problems', env: { KUBECONFIG: '/nowhere/config' } });
});
after(async () => {
  await first?.close();
  await cluster?.stop();
});

/** A window whose workspace names this kubeconfig. */
async function windowWith(t, name, kubeconfig) {
  const window = await first.another(name, { '.vscode/settings.json': JSON.stringify({ 'kubetether.kubeconfig': kubeconfig }) });
  t.after(() => window.page.close());
  return window;
}

test('without a kubeconfig the view says where it was looked for', { timeout: 600_000 }, async () => {
  await first.step('it is a row', async () => {
    await first.showViews();
    await first.row('No kubeconfig at /nowhere/config').waitFor();
    await first.row('Set kubetether.kubeconfig').waitFor();
  });
  await first.picture('nothing');
});

test('Services that may not be listed say so in their place', { timeout: 600_000 }, async (t) => {
  const { id } = await cluster.fault({
    ...{ verbs: ['list'], resource: 'services' },
    refuse: { code: 403, message: 'services is forbidden: User "ann" cannot list' },
  });
  t.after(() => cluster.api('DELETE', `/sim/faults/${id}`));
  const window = await windowWith(t, 'forbidden', cluster.kubeconfig);
  await window.step('the refusal is a row', async () => {
    await window.showViews();
    await window.row('Services is forbidden: User "ann" cannot list').waitFor();
  });
  await window.picture('forbidden');
});

test('a cluster that does not answer says so, and is there again when it does', { timeout: 600_000 }, async (t) => {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'kc-'));
  t.after(() => fs.rmSync(folder, { recursive: true }));
  const kubeconfig = path.join(folder, 'kubeconfig');
  const real = fs.readFileSync(cluster.kubeconfig, 'utf8');
  const port = await freePort();
  fs.writeFileSync(kubeconfig, real.replace(/("server":\s*")[^"]*/, `$1https://127.0.0.1:${port}`));
  const window = await windowWith(t, 'unreachable', kubeconfig);
  await window.step('it is a row', async () => {
    await window.showViews();
    await window.row(`The cluster at 127.0.0.1:${port} does not answer`).first().waitFor();
  });
  await window.picture('unreachable');
  fs.writeFileSync(kubeconfig, real);
  await window.step('the file is read again', () => window.row('Service orders, ports 8080').waitFor());
});

test('a Service that somebody else holds says whose it is, and is not taken', { timeout: 600_000 }, async (t) => {
  const session = await kubetether.connect({ kubeconfig: cluster.kubeconfig, who: 'ann@mars' });
  t.after(() => session.close());
  await session.exchange('orders', { to: () => new Response('ann') });
  const window = await windowWith(t, 'held', cluster.kubeconfig);
  await window.step('it is held', async () => {
    await window.showViews();
    await window.row('Service orders, held by ann@mars').waitFor();
  });
  await window.picture('held');
  await window.step('an exchange is refused with the name of the holder', async () => {
    await window.command('Exchange Service');
    await window.pick('Exchange Service · default', 'orders');
    await window.answer('Exchange Service · orders', '8080');
    await window.notification('ann@mars');
  });
  await window.picture('refused');
  await session.close();
  await window.step('it is free when they stop', () => window.row('Service orders, ports 8080').waitFor());
  await until('the cluster is as it was', () => cluster.isClean());
});

test('a lost connection is told, and so is its return', { timeout: 600_000 }, async (t) => {
  const port = await serve(t, 'from my machine');
  const window = await windowWith(t, 'lost', cluster.kubeconfig);
  await window.step('the Service is exchanged', async () => {
    await window.showViews();
    await window.exchange('orders', port);
  });
  const { id } = await cluster.fault({ resource: 'pods/portforward', refuse: { code: 503, message: 'out of order' } });
  await cluster.api('POST', '/sim/cut', { resource: 'pods/portforward' });
  await window.step('callers have the original, and the row and the status bar say so', async () => {
    await window.row(`orders comes to 127.0.0.1:${port}, passing through`).waitFor();
    await window.status('orders: passing through').waitFor();
  });
  await window.picture('lost');
  assert.equal(await cluster.ask('orders'), 'cluster');
  await cluster.api('DELETE', `/sim/faults/${id}`);
  await window.step('it is back', async () => {
    await window.row(`orders comes to 127.0.0.1:${port}, active`).waitFor();
    await window.status('orders: active').waitFor();
  });
  await until('it answers again', async () => (await cluster.ask('orders')) === 'from my machine');
  await window.step('it is stopped', async () => {
    await window.command('Stop All');
    await window.row('orders comes to').waitFor({ state: 'detached' });
  });
  await until('the cluster is as it was', () => cluster.isClean());
});
