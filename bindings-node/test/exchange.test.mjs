import assert from 'node:assert/strict';
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

/** Until the session says that it waits for somebody else's Service. */
async function untilHeld(events) {
  for await (const event of events) {
    assert.notEqual(event.type, 'closed');
    if (/is held by/.test(event.what ?? event.text)) return;
  }
}

test('a Service that is held is refused to the next one, or waited for', async () => {
  const sessions = await Promise.all(['one', 'two'].map((who) => connect({ kubeconfig: cluster.kubeconfig, who })));
  const to = (text) => (request, response) => response.end(text);
  try {
    const first = await sessions[0].exchange('orders', { to: to('one') });
    await assert.rejects(sessions[1].exchange('orders', { to: to('two') }), (error) => {
      assert.equal(error.code, 'held');
      assert.match(error.message, /held by one/);
      return true;
    });
    assert.equal(await cluster.ask('orders'), 'one');

    // The second one waits until it has said so itself, and gets the Service when the first one ends.
    let settled = false;
    const events = sessions[1].events();
    const second = sessions[1].exchange('orders', { to: to('two'), wait: 120, deadline: 120 }).finally(() => (settled = true));
    second.catch(() => {}); // Awaited below.
    await untilHeld(events);
    assert.equal(settled, false);
    assert.equal(await cluster.ask('orders'), 'one');
    await first.close();
    assert.equal((await second).state.state, 'active');
    await until('it comes to the second one', async () => (await cluster.ask('orders')) === 'two');

    // Who gives up waiting leaves the holder alone.
    const giveUp = new AbortController();
    const again = sessions[0].events();
    const third = sessions[0].exchange('orders', { to: to('three'), wait: 120, deadline: 120, signal: giveUp.signal });
    third.catch(() => {});
    await untilHeld(again);
    giveUp.abort(new Error('no patience'));
    await assert.rejects(third, { message: 'no patience' });
    assert.equal(await cluster.ask('orders'), 'two');
    await (await second).close();
    assert.equal(await cluster.ask('orders'), 'cluster');
  } finally {
    await Promise.all(sessions.map((session) => session.close()));
  }
  await until('nothing is left', () => cluster.isClean());
});
