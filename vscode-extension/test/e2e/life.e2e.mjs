// Windows that go: a reload puts back and offers to start again; a killed extension host harms no caller.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { startCluster, until } from '../../../bindings-node/test/support/cluster.mjs';
import { openEditor, serve } from './editor.mjs';

async function exchanged(t, name) {
  const cluster = await startCluster({ services: ['orders'] });
  t.after(() => cluster.stop());
  const port = await serve(t, 'from my machine');
  const editor = await openEditor({ name, env: { KUBECONFIG: cluster.kubeconfig } });
  t.after(() => editor.close());
  await editor.step('the Service is exchanged', async () => {
    await editor.showViews();
    await editor.exchange('orders', port);
  });
  assert.equal(await cluster.ask('orders'), 'from my machine');
  return { cluster, editor, port };
}

test('a reload puts back, and offers to start again', { timeout: 600_000 }, async (t) => {
  const { cluster, editor, port } = await exchanged(t, 'reload');
  await editor.step('the window is loaded anew', () => editor.reload());
  // The editor waits some seconds for us and no longer: what a busy machine has not done by then, the cluster does, after a while.
  await until('the cluster is as it was', () => cluster.isClean(), { limit: 300_000 });
  assert.equal(await cluster.ask('orders'), 'cluster');
  await editor.step('it is offered', () => editor.notification('ended the exchange of orders'));
  await editor.picture('offered');
  await editor.step('it is started again', async (page) => {
    await page.locator('.notification-toast .monaco-button', { hasText: 'Start Again' }).click();
    await editor.row(`orders comes to 127.0.0.1:${port}, active`).waitFor();
  });
  assert.equal(await cluster.ask('orders'), 'from my machine');
});

test('callers have the original again when the extension host is killed', { timeout: 600_000 }, async (t) => {
  const { cluster, editor } = await exchanged(t, 'killed');
  process.kill(editor.extensionHost(), 'SIGKILL');
  await until('the original answers', async () => (await cluster.ask('orders')) === 'cluster');
});
