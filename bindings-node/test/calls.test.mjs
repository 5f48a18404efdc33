// Calls that are given up, many at once, and the event loop meanwhile.

import assert from 'node:assert/strict';
import fs from 'node:fs';
import http from 'node:http';
import { createRequire } from 'node:module';
import os from 'node:os';
import path from 'node:path';
import { after, before, test } from 'node:test';

import { connect } from 'kubetether';

import { startCluster, until } from './support/cluster.mjs';
import { startGate } from './support/gate.mjs';

const require = createRequire(import.meta.url);

let cluster;
before(async () => {
  cluster = await startCluster({ services: ['orders'] });
});
after(() => cluster?.stop());

const to = () => new Response('name=here');
const start = () => connect({ kubeconfig: cluster.kubeconfig });

test('a signal that is aborted already keeps everything from starting', async () => {
  const signal = AbortSignal.abort(new Error('too late'));
  await assert.rejects(connect({ kubeconfig: cluster.kubeconfig, signal }), { message: 'too late' });
  const session = await start();
  await assert.rejects(session.exchange('orders', { to, signal }), { message: 'too late' });
  await assert.rejects(session.forward('orders:8080', { signal }), { message: 'too late' });
  await assert.rejects(session.closed({ signal }), { message: 'too late' });
  await assert.rejects(session.events({ signal }).next(), { message: 'too late' });
  await session.close();
});

test('a start that is aborted at any time rejects at once and leaves nothing', async () => {
  for (const delay of [0, 5, 20, 100, 300]) {
    const session = await start();
    const starting = session.exchange('orders', { to, signal: AbortSignal.timeout(delay) });
    const outcome = await starting.then(() => 'started', (error) => error);
    if (outcome !== 'started') assert.equal(outcome.name, 'TimeoutError');
    await session.close();
    assert.equal(await cluster.ask('orders'), 'cluster');
    await until('nothing is left', () => cluster.isClean());
  }
  const starting = connect({ kubeconfig: cluster.kubeconfig, signal: AbortSignal.timeout(1) });
  await starting.then((session) => session.close(), (error) => assert.equal(error.name, 'TimeoutError'));
  await until('its Lease is gone', () => cluster.isClean());
});

test('a close that is given up goes on', async () => {
  const session = await start();
  const exchange = await session.exchange('orders', { to });
  await assert.rejects(exchange.close({ signal: AbortSignal.timeout(0) }), { name: 'TimeoutError' });
  assert.deepEqual(await exchange.closed(), { state: 'closed' });
  assert.equal(await cluster.ask('orders'), 'cluster');
  await session.close();
});

test('a close that takes too long leaves what callers come to, until it is over', async () => {
  const session = await start();
  const server = http.createServer((_, response) => response.end('name=here'));
  const exchange = await session.exchange('orders', { to: server });
  const { id } = await cluster.fault({ verbs: ['patch'], resource: 'services', name: 'orders', refuse: { code: 403 } });
  await assert.rejects(exchange.close({ deadline: 1 }), { code: 'deadline' });
  assert.equal(exchange.state.state, 'closing');
  assert.equal(server.listening, true);
  // The Service still leads here.
  assert.equal(await cluster.ask('orders'), 'here');
  await cluster.api('DELETE', `/sim/faults/${id}`);
  assert.deepEqual(await exchange.closed(), { state: 'closed' });
  await until('the server is closed', () => !server.listening);
  assert.equal(await cluster.ask('orders'), 'cluster');
  await session.close();
});

test('a close that was not asked for ends nothing', async () => {
  const session = await start();
  const server = http.createServer((_, response) => response.end('name=here'));
  const exchange = await session.exchange('orders', { to: server });
  await assert.rejects(exchange.close({ deadline: 'soon' }), { code: 'config' });
  await assert.rejects(exchange.close({ signal: AbortSignal.abort(new Error('too late')) }), { message: 'too late' });
  assert.equal(exchange.state.state, 'active');
  assert.equal(await cluster.ask('orders'), 'here');
  await session.close();
  assert.equal(server.listening, false);
});

test('dispose closes, also from a failing scope', async () => {
  const session = await start();
  const exchange = await session.exchange('orders', { to });
  assert.equal(await cluster.ask('orders'), 'here');
  await exchange[Symbol.asyncDispose]();
  assert.equal(exchange.state.state, 'closed');
  await session[Symbol.asyncDispose]();
  await session[Symbol.asyncDispose]();
  assert.equal(session.state.state, 'closed');
});

test('closing the session closes what was served for its exchanges', async () => {
  const { createServer } = await import('node:http');
  const server = createServer((_, response) => response.end('name=here'));
  const session = await start();
  const exchange = await session.exchange('orders', { to: server });
  assert.ok(server.listening);
  await session.close();
  assert.equal(server.listening, false);
  assert.equal(exchange.state.state, 'closed');
});

test('two sessions to two clusters', async () => {
  const other = await startCluster({ services: ['orders'] });
  try {
    const sessions = await Promise.all([cluster, other].map(({ kubeconfig }) => connect({ kubeconfig })));
    await Promise.all(sessions.map((session, at) => session.exchange('orders', { to: () => new Response(`name=${at}`) })));
    assert.deepEqual([await cluster.ask('orders'), await other.ask('orders')], ['0', '1']);
    await sessions[0].close();
    assert.deepEqual([await cluster.ask('orders'), await other.ask('orders')], ['cluster', '1']);
    await sessions[1].close();
  } finally {
    await other.stop();
  }
});

test('the library may be loaded twice', async () => {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'kubetether-node-'));
  try {
    for (const part of ['lib', 'native', 'package.json']) fs.cpSync(new URL(`../${part}`, import.meta.url), path.join(folder, part), { recursive: true });
    const twin = require(folder);
    assert.notEqual(twin.connect, connect);
    const [one, two] = await Promise.all([start(), twin.connect({ kubeconfig: cluster.kubeconfig })]);
    const exchange = await two.exchange('orders', { to: () => new Response('name=twin') });
    const forward = await one.forward('orders:8080');
    assert.equal(await (await fetch(forward.url('/'), { headers: { connection: 'close' } })).text(), 'name=twin');
    assert.match(forward.address, /^127\.0\.0\.1:\d+$/);
    assert.equal(forward.port, Number(forward.address.split(':')[1]));
    await exchange.close();
    await Promise.all([one.close(), two.close()]);
  } finally {
    fs.rmSync(folder, { recursive: true });
  }
});

test('the event loop goes on while calls are under way', async () => {
  const gate = await startGate(cluster.kubeconfig);
  // The gate is in this process: were its loop held up by a call, that call would never end.
  let session, exchange, forward;
  const calls = {
    connect: async () => (session = await connect({ kubeconfig: gate.kubeconfig, startDeadline: 120 })),
    exchange: async () => (exchange = await session.exchange('orders', { to })),
    forward: async () => (forward = await session.forward('orders:8080')),
    'exchange.close': () => exchange.close({ deadline: 120 }),
    'session.close': () => session.close({ deadline: 120 }),
  };
  try {
    for (const [what, call] of Object.entries(calls)) {
      gate.hold();
      let over = false;
      const calling = call().finally(() => (over = true));
      // Told below.
      calling.catch(() => {});
      for (let tick = 0; tick < 50; tick++) {
        await new Promise((resolve) => setTimeout(resolve, 1));
        if (session !== undefined) assert.equal(typeof session.state.state, 'string');
      }
      assert.equal(over, false, `${what} was under way meanwhile`);
      gate.letGo();
      await calling;
    }
    assert.equal(forward.state.state, 'closed');
    assert.equal(await cluster.ask('orders'), 'cluster');
  } finally {
    gate.letGo();
    await session?.close();
    gate.close();
  }
});

test('events: a snapshot first, then what happens, one end, and a counter of what was lost', async () => {
  const session = await start();
  const events = session.events();
  const types = [];
  const reading = (async () => {
    for await (const event of events) types.push(event.type);
  })();
  const exchange = await session.exchange('orders', { to });
  const left = session.events();
  assert.deepEqual((await left.next()).value.handles.map(({ mode, target }) => [mode, target]), [['exchange', 'svc/orders']]);
  const waiting = left.next();
  await left.return();
  assert.deepEqual(await waiting, { done: true, value: undefined });
  assert.deepEqual(await left.next(), { done: true, value: undefined });

  // One that nobody reads while much happens.
  const slow = session.events();
  const forwards = await Promise.all(Array.from({ length: 100 }, () => session.forward('orders:8080')));
  await Promise.all(forwards.map((forward) => forward.close()));
  await exchange.close();
  await session.close();
  await reading;
  assert.equal(types[0], 'snapshot');
  assert.equal(types.at(-1), 'closed');
  assert.equal(types.filter((type) => type === 'closed').length, 1);
  assert.ok(types.includes('progress') && types.includes('handle'));
  assert.equal(events.dropped > 0, types.includes('dropped'));

  // Told also to who asks for nothing any more.
  const { dropped } = slow;
  const late = [];
  for await (const event of slow) late.push(event);
  assert.equal(late[0].type, 'snapshot');
  assert.equal(late[1].type, 'dropped');
  assert.equal(late.length, 2 + 256);
  assert.equal(late.at(-1).type, 'closed');
  assert.equal(dropped, late[1].count);
  assert.equal(slow.dropped, dropped);
});

test('many calls at once', async () => {
  const session = await start();
  const forwards = await Promise.all(Array.from({ length: 200 }, () => session.forward('orders:8080')));
  assert.equal(new Set(forwards.map((forward) => forward.port)).size, 200);
  await session.close();
  assert.ok(forwards.every((forward) => forward.state.state === 'closed'));
});
