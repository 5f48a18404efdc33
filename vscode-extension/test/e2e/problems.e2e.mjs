// What does not work is told where it stands, with what to do.

import { test } from 'node:test';

import kubetether from '../../../bindings-node/lib/index.js';
import { startCluster } from '../../../bindings-node/test/support/cluster.mjs';
import { openEditor } from './editor.mjs';

const open = (page) => page.locator('.activitybar .action-label[aria-label="kubetether"]').click();

test('Services that may not be listed say so in their place', { timeout: 300_000 }, async (t) => {
  const cluster = await startCluster({ services: ['orders'] });
  t.after(() => cluster.stop());
  await cluster.fault({ verbs: ['list'], resource: 'services', refuse: { code: 403, message: 'services is forbidden: User "ann" cannot list' } });
  const editor = await openEditor({ name: 'forbidden', env: { KUBECONFIG: cluster.kubeconfig } });
  t.after(() => editor.close());
  await editor.step('the refusal is a row', async (page) => {
    await open(page);
    await editor.row('Services is forbidden: User "ann" cannot list'.replaceAll('"', '\\"')).waitFor();
  });
  await editor.picture('forbidden');
});

test('without a kubeconfig the view says where it was looked for', { timeout: 300_000 }, async (t) => {
  const editor = await openEditor({ name: 'nothing', env: { KUBECONFIG: '/nowhere/config' } });
  t.after(() => editor.close());
  await editor.step('it is a row', async (page) => {
    await open(page);
    await editor.row('There is no kubeconfig at /nowhere/config').waitFor();
  });
  await editor.picture('nothing');
});

test('a Service that somebody else holds says whose it is', { timeout: 300_000 }, async (t) => {
  const cluster = await startCluster({ services: ['orders'] });
  t.after(() => cluster.stop());
  const session = await kubetether.connect({ kubeconfig: cluster.kubeconfig, who: 'ann@mars' });
  t.after(() => session.close());
  await session.exchange('orders', { to: () => new Response('ann') });
  const editor = await openEditor({ name: 'held', env: { KUBECONFIG: cluster.kubeconfig } });
  t.after(() => editor.close());
  await editor.step('it is held', async (page) => {
    await open(page);
    await editor.row('Service orders, held by ann@mars').waitFor();
  });
  await editor.picture('held');
});
