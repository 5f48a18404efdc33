// First use with nothing but a kubeconfig: the tree shows the Services, one of them is exchanged from there, and put back.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { startCluster, until } from '../../../bindings-node/test/support/cluster.mjs';
import { keep, openEditor, serve } from './editor.mjs';

test('a Service is exchanged from the tree, and put back', { timeout: 300_000 }, async (t) => {
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
  for (const theme of ['Light Modern', 'Light High Contrast', 'Dark High Contrast', 'Dark Modern']) {
    await editor.step(`it is seen in ${theme}`, () => editor.theme(theme));
    const file = await editor.picture(theme.toLowerCase().replaceAll(' ', '-'));
    if (theme === 'Light Modern') keep(file, 'exchanged.png');
  }
  assert.equal(await cluster.ask('orders'), 'from my machine');

  await editor.step('it is stopped', async () => {
    await editor.action('orders comes to', 'Stop');
    await editor.row('orders comes to').waitFor({ state: 'detached' });
    await editor.row('Service orders, ports 8080').waitFor();
  });
  await editor.picture('stopped');
  assert.equal(await cluster.ask('orders'), 'cluster');
  await until('the cluster is as it was', () => cluster.isClean());
});
