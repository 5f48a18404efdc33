// Two windows on one cluster: each sees what the other holds, and what one stops the other may have.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { startCluster, until } from '../../../bindings-node/test/support/cluster.mjs';
import { openEditor, serve } from './editor.mjs';

test('two windows do not clash', { timeout: 600_000 }, async (t) => {
  const cluster = await startCluster({ services: ['orders', 'stock'] });
  t.after(() => cluster.stop());
  const [one, two] = [await serve(t, 'window one'), await serve(t, 'window two')];
  const first = await openEditor({ name: 'windows', env: { KUBECONFIG: cluster.kubeconfig } });
  t.after(() => first.close());
  const second = await first.another('ws2');

  await first.step('the first window exchanges a Service', async () => {
    await first.showViews();
    await first.exchange('orders', one);
  });
  await second.step('the second one sees it held, and has another', async () => {
    await second.showViews();
    await second.row('Service orders, held by').waitFor();
    await second.exchange('stock', two);
  });
  await second.picture('second');
  await first.step('the first one sees that', () => first.row('Service stock, held by').waitFor());
  assert.deepEqual([await cluster.ask('orders'), await cluster.ask('stock')], ['window one', 'window two']);

  await first.step('what the first one stops', async () => {
    await first.action('orders comes to', 'Stop');
    await first.row('Service orders, ports 8080').waitFor();
  });
  await second.step('the second one may have', async () => {
    await second.row('Service orders, ports 8080').waitFor();
    await second.exchange('orders', two);
  });
  assert.deepEqual([await cluster.ask('orders'), await cluster.ask('stock')], ['window two', 'window two']);

  await second.step('all is stopped at once', async () => {
    await second.command('Stop All');
    await second.row('orders comes to').waitFor({ state: 'detached' });
  });
  await until('the cluster is as it was', () => cluster.isClean());
  assert.deepEqual([await cluster.ask('orders'), await cluster.ask('stock')], ['cluster', 'cluster']);
});
