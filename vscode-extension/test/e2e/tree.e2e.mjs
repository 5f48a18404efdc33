// First use with nothing but a kubeconfig: the tree shows the Services, one of them is exchanged from there, and put back,
// another one is forwarded, for a terminal, too.

import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';

import { startCluster, until } from '../../../bindings-node/test/support/cluster.mjs';
import { keep, openEditor, serve } from './editor.mjs';

test('a Service is exchanged from the tree, and put back; a port is forwarded', { timeout: 600_000 }, async (t) => {
  const cluster = await startCluster({ services: ['orders', 'stock'] });
  t.after(() => cluster.stop());
  const port = await serve(t, 'from my machine');

  const editor = await openEditor({ name: 'tree', env: { KUBECONFIG: cluster.kubeconfig } });
  t.after(() => editor.close());

  await editor.step('the tree shows the Services', async () => {
    await editor.showViews();
    await editor.row('Service orders, ports 8080').waitFor();
    await editor.row('Service stock, ports 8080').waitFor();
  });
  await editor.picture('services');

  await editor.step('a Service has its workload', async () => {
    await editor.row('Service orders').click();
    await editor.row('Deployment orders, 1 of 1 ready').waitFor();
  });
  await editor.picture('workload');

  assert.equal(await cluster.ask('orders'), 'cluster');
  await editor.step('the Service is exchanged', async () => {
    await editor.exchange('orders', port);
    await editor.row(`Service orders, comes to 127.0.0.1:${port}`).waitFor();
  });
  assert.equal(await cluster.ask('orders'), 'from my machine');
  for (const theme of ['Light Modern', 'Light High Contrast', 'Dark High Contrast', 'Dark Modern']) {
    await editor.step(`it is seen in ${theme}`, () => editor.theme(theme));
    const file = await editor.picture(theme.toLowerCase().replaceAll(' ', '-'));
    if (theme === 'Light Modern') keep(file, 'exchanged.png');
  }

  await editor.step('it is stopped', async () => {
    await editor.action('orders comes to', 'Stop');
    await editor.row('orders comes to').waitFor({ state: 'detached' });
    await editor.row('Service orders, ports 8080').waitFor();
  });
  await editor.picture('stopped');
  assert.equal(await cluster.ask('orders'), 'cluster');

  await editor.step('a port is forwarded', async () => {
    await editor.action('Service stock', 'Forward Port');
    await editor.row('127.0.0.1:').waitFor();
  });
  const [, address] = /^(\S+) leads to stock:8080/.exec(await editor.row('127.0.0.1:').getAttribute('aria-label'));
  assert.match(await (await fetch(`http://${address}/`)).text(), /name=cluster/);
  await editor.step('a terminal has its address', async (page) => {
    await editor.command('Open Terminal with Cluster Addresses');
    await page.locator('.xterm-helper-textarea').focus();
    await page.keyboard.type('echo $STOCK_ADDRESS >address\n');
    const file = path.join(editor.workspace, 'address');
    await until('the shell has written it', () => fs.existsSync(file) && fs.readFileSync(file, 'utf8').trim() === address);
  });
  await editor.picture('terminal');
  await editor.step('all is stopped', async () => {
    await editor.command('Stop All');
    await editor.row('127.0.0.1:').waitFor({ state: 'detached' });
  });
  await until('the cluster is as it was', () => cluster.isClean());
});
