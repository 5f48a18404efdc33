import assert from 'node:assert/strict';
import { inspect } from 'node:util';
import { after, before, test } from 'node:test';

import { KubetetherError, clean, connect, recover, status } from 'kubetether';

import { startCluster } from './support/cluster.mjs';

let cluster;
let session;
before(async () => {
  cluster = await startCluster({ services: ['orders'] });
  session = await connect({ kubeconfig: cluster.kubeconfig });
});
after(async () => {
  await session?.close();
  await cluster?.stop();
});

const failure = (work) => work.then(() => assert.fail('it did not fail'), (error) => error);

test('an error tells its code, object, causes and what to do', async () => {
  const error = await failure(connect({ kubeconfig: '/nowhere/kubeconfig' }));
  assert.ok(error instanceof KubetetherError && error instanceof Error);
  assert.equal(error.name, 'KubetetherError');
  assert.equal(error.code, 'kubeconfig');
  assert.equal(error.number, 110);
  assert.equal(error.class, 'usage');
  assert.match(error.message, /kubeconfig/);
  assert.ok(error.cause instanceof Error);
  assert.match(error.cause.message, /No such file|not found/i);
  assert.deepEqual(error.evidence, []);
  // Who called is in the stack, and a person reads all of it.
  assert.match(error.stack, /errors\.test\.mjs/);
  assert.match(inspect(error), /kubeconfig[^]*cause/);

  const missing = await failure(session.exchange('nobody', { to: 8080 }));
  assert.equal(missing.code, 'no_such_target');
  assert.match(missing.object, /services\/nobody/);
});

test('settings are checked before the cluster is asked', async () => {
  for (const options of [{ nameSpace: 'x' }, { grace: -1 }, { carriers: 'two' }, { heartbeat: NaN }, { grace: Infinity }]) {
    const error = await failure(connect({ kubeconfig: cluster.kubeconfig, ...options }));
    assert.equal(error.code, 'config', inspect(options));
  }
  await assert.rejects(session.forward('db'), { code: 'config' });
  await assert.rejects(session.forward('db:5432', { prot: 1 }), { code: 'config' });
});

test('a handle that is closed says so', async () => {
  const forward = await session.forward('orders:8080');
  await forward.close();
  await forward.close();
  assert.deepEqual(forward.state, { state: 'closed' });
  assert.deepEqual(await forward.closed(), { state: 'closed' });
  const other = await connect({ kubeconfig: cluster.kubeconfig });
  await other.close();
  assert.equal(other.state.state, 'closed');
  await assert.rejects(other.forward('orders:8080'), { code: 'closed' });
});

test('a Service that is held names its holder; status tells, recover puts it back', async () => {
  const exchange = await session.exchange('orders', { to: () => new Response('name=first') });
  const other = await connect({ kubeconfig: cluster.kubeconfig, who: 'somebody else' });
  try {
    const held = await failure(other.exchange('orders', { to: 1 }));
    assert.equal(held.code, 'held');

    const now = await status({ kubeconfig: cluster.kubeconfig, patience: 0 });
    assert.deepEqual(now.services.map(({ service, mode, ports }) => [service, mode, ports]), [['orders', 'exchange', [8080]]]);
    assert.ok(now.sessions.some(({ who }) => who === 'somebody else'));

    const put = await recover('orders', { kubeconfig: cluster.kubeconfig });
    assert.equal(put.changed, true);
    assert.equal(put.heldBy.length, 1);
    assert.equal(await cluster.ask('orders'), 'cluster');
    assert.equal((await exchange.closed()).state, 'lost');
  } finally {
    await other.close();
  }
  const cleaned = await clean({ kubeconfig: cluster.kubeconfig, dryRun: true });
  assert.deepEqual(cleaned.restored, []);
});

test('an agent that does not start brings the pod\'s evidence', async () => {
  const nobody = 'kubetether.test/nobody:1';
  const other = await connect({ kubeconfig: cluster.kubeconfig, agentImage: nobody });
  try {
    const error = await failure(other.exchange('orders', { to: 1, deadline: 20 }));
    assert.equal(error.code, 'agent_start');
    assert.ok(error.evidence.some((line) => /image/i.test(line)), inspect(error));
    assert.ok(Object.isFrozen(error.evidence));
  } finally {
    await other.close();
  }
  assert.equal(await cluster.ask('orders'), 'cluster');
});
