// The package as it is downloaded, installed into an editor that has nothing else of ours: first use, exchange, traffic, stop.
// `./package` has made it. All other tests run the extension from its folder.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';

import { startCluster, until } from '../../../bindings-node/test/support/cluster.mjs';
import { openEditor, serve } from './editor.mjs';

const VSIX = fileURLToPath(new URL(`../../../target/code/kubetether-${process.platform}-${process.arch}.vsix`, import.meta.url));

test('the package that is downloaded', { timeout: 600_000 }, async (t) => {
  const cluster = await startCluster({ services: ['orders', 'stock'] });
  t.after(() => cluster.stop());
  const port = await serve(t, 'from my machine');
  const window = await openEditor({ name: 'package', env: { KUBECONFIG: cluster.kubeconfig }, vsix: VSIX });
  t.after(() => window.close());

  await window.step('first use', async () => {
    await window.showViews();
    await window.row('Service stock, ports 8080').waitFor();
  });
  await window.step('a Service is exchanged', () => window.exchange('orders', port));
  assert.equal(await cluster.ask('orders'), 'from my machine');
  await window.step('it is stopped', async () => {
    await window.action('orders comes to', 'Stop');
    await window.row('Service orders, ports 8080').waitFor();
  });
  assert.equal(await cluster.ask('orders'), 'cluster');
  await until('the cluster is as it was', () => cluster.isClean());
  await window.step('its pages are in the package', async () => {
    await window.showTraffic();
    await window.traffic.locator('.row', { hasText: 'orders' }).first().waitFor();
  });
  await window.picture('traffic');
});
