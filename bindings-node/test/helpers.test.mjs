// The helpers of test runners, each in a run of its own; the example's suite is that of vitest.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { after, before, test } from 'node:test';
import { createRequire } from 'node:module';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

import { connect } from 'kubetether';

import { startCluster, until } from './support/cluster.mjs';

const PACKAGE = fileURLToPath(new URL('..', import.meta.url));
const require = createRequire(import.meta.url);

let cluster;
before(async () => {
  cluster = await startCluster({ apply: path.join(PACKAGE, 'example/shop.yaml') });
  await Promise.all(['orders', 'stock'].map((name) => cluster.ready(name)));
});
after(() => cluster?.stop());

async function run(...args) {
  const { NODE_TEST_CONTEXT, ...env } = process.env;
  const child = spawn(process.execPath, args, { cwd: PACKAGE, env: { ...env, KUBECONFIG: cluster.kubeconfig, NO_COLOR: '1' } });
  let out = '';
  for (const stream of [child.stdout, child.stderr]) stream.setEncoding('utf8').on('data', (data) => (out += data));
  const code = await new Promise((resolve) => child.on('close', resolve));
  return { code, out };
}

test('vitest: the example, twice', async () => {
  const vitest = path.join(path.dirname(require.resolve('vitest/package.json')), 'vitest.mjs');
  for (const pool of ['forks', 'threads']) {
    const { code, out } = await run(vitest, 'run', '--root', 'example', '--pool', pool);
    assert.equal(code, 0, out);
    assert.match(out, /Tests +2 passed/);
    assert.doesNotMatch(out, /KUBETETHER_UNCLOSED/);
    assert.equal(await cluster.ask('orders'), 'deployed-orders');
    await until('nothing is left', () => cluster.isClean());
  }
});

test('node:test: what a test started is undone, also when it fails', async () => {
  const { code, out } = await run('--test', '--test-reporter=tap', 'test/fixtures/node-test.mjs');
  assert.equal(code, 1);
  assert.match(out, /not ok \d - fails with an exchange open[^]*on purpose/);
  assert.match(out, /# pass 2\n# fail 1/, out);
  assert.equal(await cluster.ask('orders'), 'deployed-orders');
  await until('nothing is left', () => cluster.isClean());
});

/** Hooks like jest's, which a test calls in the order in which jest does; jest itself is not installed for this. */
function jestHooks() {
  const hooks = {};
  for (const name of ['beforeAll', 'afterAll', 'beforeEach', 'afterEach']) {
    globalThis[name] = (work, limit) => {
      assert.ok(limit >= 1000);
      hooks[name] = work;
    };
  }
  return hooks;
}

test('jest: its global hooks', async () => {
  const hooks = jestHooks();
  const kube = require('kubetether/jest').useSession({ kubeconfig: cluster.kubeconfig });
  assert.throws(() => kube.session, /while tests and their hooks run/);
  await hooks.beforeAll();
  await hooks.beforeEach();
  const exchange = await kube.exchange('orders', { to: () => new Response('name=here') });
  assert.equal(await cluster.ask('orders'), 'here');
  // One that somebody else holds, for which the test waits until the runner's own limit cuts it off.
  const other = await connect({ kubeconfig: cluster.kubeconfig });
  const held = await other.exchange('stock', { to: () => new Response('name=other') });
  const events = kube.session.events();
  const late = kube.exchange('stock', { to: () => new Response('name=late'), wait: 300, deadline: 300 });
  for await (const event of events) if (/is held by/.test(event.what ?? event.text)) break;
  await hooks.afterEach();
  assert.equal(exchange.state.state, 'closed');
  await assert.rejects(late, /the test that started it is over/);
  assert.equal(await cluster.ask('stock'), 'other');

  // One that is not waited for at all, but on its way; the next test may have the same Service at once.
  await held.close();
  await hooks.beforeEach();
  const begun = kube.session.events();
  const unawaited = kube.exchange('stock', { to: () => new Response('name=late') });
  for await (const event of begun) if (event.type === 'progress') break;
  await hooks.afterEach();
  await unawaited.then(({ state }) => assert.equal(state.state, 'closed'), (error) => assert.match(error.message, /is over/));
  await hooks.beforeEach();
  await kube.exchange('stock', { to: () => new Response('name=next') });
  assert.equal(await cluster.ask('stock'), 'next');
  await hooks.afterEach();
  await hooks.afterAll();
  await other.close();
  await until('nothing is left', () => cluster.isClean());
});

test('a namespace for each test', async () => {
  const hooks = jestHooks();
  const kube = require('kubetether/jest').useNamespace({ kubeconfig: cluster.kubeconfig });
  const namespaces = async () => (await cluster.api('GET', '/api/v1/namespaces')).items.map(({ metadata }) => metadata.name);
  assert.throws(() => kube.name, /while a test and its hooks run/);
  const names = new Set();
  for (let round = 0; round < 2; round++) {
    await hooks.beforeEach();
    const { name, session } = kube;
    names.add(name);
    assert.equal(session.namespace, name);
    assert.ok((await namespaces()).includes(name));
    // It is empty.
    await assert.rejects(kube.exchange('orders', { to: 1 }), { code: 'no_such_target' });
    await hooks.afterEach();
    assert.equal(session.state.state, 'closed');
    assert.ok(!(await namespaces()).includes(name));
  }
  assert.equal(names.size, 2);

  // What could not be made needs no undoing.
  const { id } = await cluster.fault({ verbs: ['create'], resource: 'namespaces', refuse: { code: 403 } });
  await assert.rejects(hooks.beforeEach(), { code: 'forbidden' });
  await hooks.afterEach();
  await cluster.api('DELETE', `/sim/faults/${id}`);
  assert.throws(() => kube.session, /while a test and its hooks run/);
});
