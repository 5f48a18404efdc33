import assert from 'node:assert/strict';
import http from 'node:http';
import { after, before, test } from 'node:test';

import { connect } from 'kubetether';

import { PORT, startCluster, until } from './support/cluster.mjs';

let cluster;
before(async () => {
  cluster = await startCluster({ services: ['orders'] });
});
after(() => cluster?.stop());

test('a Service comes here and goes back', async () => {
  assert.equal(await cluster.ask('orders'), 'cluster');
  const session = await connect({ kubeconfig: cluster.kubeconfig });
  try {
    assert.equal(session.state.state, 'ready');
    const exchange = await session.exchange('orders', { to: (request, response) => response.end('here') });
    assert.equal(exchange.service, 'orders');
    assert.equal(exchange.ports[0].servicePort, PORT);
    assert.equal(await cluster.ask('orders'), 'here');
    assert.ok(exchange.stats.connections >= 1);
    await exchange.close();
    assert.equal(exchange.state.state, 'closed');
    assert.equal(await cluster.ask('orders'), 'cluster');
  } finally {
    await session.close();
  }
  await until('nothing is left', () => cluster.isClean());
});
