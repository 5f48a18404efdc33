// With an extension that has the Kubernetes extension's id and publishes its API: the view and the commands follow the kubeconfig
// that it has chosen, and the context that is active there. All other tests run without one.

import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';

import { startCluster, until } from '../../../bindings-node/test/support/cluster.mjs';
import { openEditor, serve } from './editor.mjs';

/** That of the cluster, which has one context, with contexts of these names; the first one is active. */
function kubeconfig(cluster, file, names) {
  const config = JSON.parse(fs.readFileSync(cluster.kubeconfig, 'utf8'));
  const [{ context }] = config.contexts;
  // As the Kubernetes extension and kubectl do it: another file in the place of this one.
  fs.writeFileSync(`${file}.new`, JSON.stringify({ ...config, 'current-context': names[0], contexts: names.map((name) => ({ name, context })) }));
  fs.renameSync(`${file}.new`, file);
  return file;
}

test("the Kubernetes extension's kubeconfig and context are followed", { timeout: 600_000 }, async (t) => {
  const cluster = await startCluster({ services: ['orders'] });
  t.after(() => cluster.stop());
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'kc-'));
  t.after(() => fs.rmSync(folder, { recursive: true }));
  const one = kubeconfig(cluster, path.join(folder, 'one'), ['alpha', 'beta']);
  const two = kubeconfig(cluster, path.join(folder, 'two'), ['gamma']);
  const port = await serve(t, 'from my machine');
  const window = await openEditor({
    name: 'kubernetes',
    env: { KUBECONFIG: '/nowhere/config', KUBETETHER_TEST_KUBECONFIGS: `${one}:${two}` },
    extensions: [fileURLToPath(new URL('kubernetes', import.meta.url))],
  });
  t.after(() => window.close());

  await window.step('the view shows the kubeconfig that it has chosen', async () => {
    await window.showViews();
    await window.row('Context alpha, current').waitFor();
    await window.row('Service orders, ports 8080').waitFor();
  });
  await window.step('another context is active', async () => {
    kubeconfig(cluster, one, ['beta', 'alpha']);
    await window.row('Context beta, current').waitFor();
  });
  await window.step('another kubeconfig is chosen', async () => {
    await window.command('Use the Other Kubeconfig');
    await window.row('Context gamma, current').waitFor();
    assert.equal(await window.row('Context alpha').count(), 0);
  });
  await window.picture('gamma');
  await window.step('commands mean that one, too', async () => {
    await window.command('Exchange Service');
    await window.pick('Exchange Service · default', 'orders');
    await window.answer('Exchange Service · orders', String(port));
    await window.row(`orders comes to 127.0.0.1:${port}, active`).waitFor();
  });
  assert.equal(await cluster.ask('orders'), 'from my machine');
  await window.step('it is stopped', async () => {
    await window.command('Stop All');
    await window.row('orders comes to').waitFor({ state: 'detached' });
  });
  await until('the cluster is as it was', () => cluster.isClean());
});
