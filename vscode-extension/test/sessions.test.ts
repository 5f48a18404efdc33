import assert from 'node:assert/strict';
import { test } from 'node:test';

import { Sessions, type Ended } from '../src/sessions/sessions.js';
import { deferred, FakeEngine, settle } from './fakeEngine.js';

const SHOP = { namespace: 'shop' };

function made() {
  const engine = new FakeEngine();
  const sessions = new Sessions(() => Promise.resolve(engine));
  return { engine, sessions };
}

test('what is started in one place shares a session, which ends with the last of it', async () => {
  const { engine, sessions } = made();
  const [exchange, forward] = await Promise.all([sessions.exchange(SHOP, 'orders', 8080), sessions.forward(SHOP, 'db:5432')]);
  assert.deepEqual(engine.calls.filter((call) => call.startsWith('connect')), ['connect shop']);
  assert.equal(sessions.list().length, 1);

  await sessions.stop(exchange.key);
  assert.equal(sessions.list()[0]?.items.length, 1);
  await sessions.stop(forward.key);
  assert.deepEqual(sessions.list(), []);
  assert.deepEqual(engine.calls.slice(-3), ['close exchange orders', 'close forward db:5432', 'close session']);
});

test('places have sessions of their own', async () => {
  const { engine, sessions } = made();
  await sessions.forward(SHOP, 'db:5432');
  await sessions.forward({ namespace: 'other' }, 'db:5432');
  assert.equal(engine.sessions.length, 2);
  await sessions.stopAll();
  assert.deepEqual(sessions.list(), []);
});

test('a start that fails leaves no session', async () => {
  const { engine, sessions } = made();
  engine.start = (what) => {
    if (what.startsWith('exchange')) throw new Error('held by somebody');
  };
  await assert.rejects(sessions.exchange(SHOP, 'orders', 8080), /held by somebody/);
  assert.deepEqual(sessions.list(), []);
  assert.equal(engine.calls.at(-1), 'close session');
});

test('a start that fails is told, also when its session cannot be closed', async () => {
  const { engine, sessions } = made();
  engine.start = (what) => {
    if (!what.startsWith('exchange')) return;
    const [session] = engine.sessions;
    assert.ok(session);
    session.close = () => Promise.reject(new Error('not closed'));
    throw new Error('held by somebody');
  };
  await assert.rejects(sessions.exchange(SHOP, 'orders', 8080), /held by somebody/);
});

test('a connection that fails is tried anew by the next start', async () => {
  const { engine, sessions } = made();
  engine.start = () => Promise.reject(new Error('no cluster'));
  await assert.rejects(sessions.forward(SHOP, 'db:5432'), /no cluster/);
  engine.start = () => undefined;
  await sessions.forward(SHOP, 'db:5432');
  assert.equal(sessions.list().length, 1);
});

test('one who gives up does not end the connection for others', async () => {
  const { engine, sessions } = made();
  const gate = deferred<void>();
  engine.start = (what) => (what === 'connect' ? gate.promise : undefined);
  const giveUp = new AbortController();
  const first = sessions.forward(SHOP, 'db:5432', { signal: giveUp.signal });
  const second = sessions.forward(SHOP, 'queue:5672');
  giveUp.abort();
  await assert.rejects(first, { name: 'AbortError' });
  gate.resolve();
  assert.equal((await second).target, 'queue:5672');
});

test('given up before it begins, nothing does', async () => {
  const { engine, sessions } = made();
  await assert.rejects(sessions.forward(SHOP, 'db:5432', { signal: AbortSignal.abort() }), { name: 'AbortError' });
  assert.deepEqual(engine.calls, []);
});

test('a Service is exchanged once by a window', async () => {
  const { engine, sessions } = made();
  await sessions.exchange(SHOP, 'orders', 8080);
  await assert.rejects(sessions.exchange(SHOP, 'orders', 9090), { code: 'held', hint: 'Stop that exchange first' });
  assert.equal(engine.calls.filter((call) => call === 'exchange orders').length, 1);
});

test('what is lost goes, and is told; what is stopped is not', async () => {
  const { engine, sessions } = made();
  const told: Ended[] = [];
  sessions.ended.listen((ended) => told.push(ended));
  await sessions.exchange(SHOP, 'orders', 8080);
  const forward = await sessions.forward(SHOP, 'db:5432');
  engine.sessions[0]?.handles[0]?.end({ state: 'lost', reason: 'taken by ann' });
  await settle();
  assert.deepEqual(told, [{ what: 'The exchange of orders', why: 'taken by ann' }]);
  await sessions.stop(forward.key);
  await settle();
  assert.equal(told.length, 1);
});

test('a session that ends by itself is gone, and the next start makes another', async () => {
  const { engine, sessions } = made();
  const told: Ended[] = [];
  sessions.ended.listen((ended) => told.push(ended));
  await sessions.forward(SHOP, 'db:5432');
  engine.sessions[0]?.end('the namespace is gone');
  await settle();
  assert.deepEqual(sessions.list(), []);
  assert.deepEqual(told, [{ what: 'The session in shop', why: 'the namespace is gone' }]);
  await sessions.forward(SHOP, 'db:5432');
  assert.equal(engine.sessions.length, 2);
});

test('state and counters are those of now', async () => {
  const { engine, sessions } = made();
  const exchange = await sessions.exchange(SHOP, 'orders', 8080);
  const handle = engine.sessions[0]?.handles[0];
  assert.ok(handle);
  handle.state = { state: 'pass_through', reason: 'no agent' };
  handle.stats = { ...handle.stats, open: 3 };
  assert.equal(exchange.state.state, 'pass_through');
  assert.equal(exchange.stats.open, 3);
});

test('after close nothing begins', async () => {
  const { engine, sessions } = made();
  await sessions.exchange(SHOP, 'orders', 8080);
  await sessions.close();
  assert.equal(engine.calls.at(-1), 'close session');
  await assert.rejects(sessions.forward(SHOP, 'db:5432'), { code: 'closed' });
});
