// Single flows, as the session tells them.

import assert from 'node:assert/strict';
import { once } from 'node:events';
import net from 'node:net';
import { after, afterEach, before, test } from 'node:test';

import { connect } from 'kubetether';

import { PORT, startCluster, until } from './support/cluster.mjs';

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

/** What is left of a test is ended behind it, also when it failed. */
const left = [];
afterEach(() => Promise.all(left.splice(0).map((end) => end())));

/** One on the way: a caller may be reset as soon as it is there. */
function connecting(port, host) {
  const socket = net.connect(port, host);
  left.push(() => socket.destroy());
  socket.on('error', () => {}); // A reset is what some of them are for.
  return socket;
}

/** A connection of somebody inside the cluster. */
async function caller(name) {
  const { spec } = await cluster.service(name);
  return connecting(PORT, spec.clusterIP);
}

/** Until it is gone, also by a reset. */
const gone = (socket) => until('a connection is gone', () => socket.closed);

const addressOf = (socket) => `${socket.localAddress}:${socket.localPort}`;

/** The ones that ended since `from.next`, once there are so many. */
async function ended(count, from) {
  const found = [];
  let { next } = from;
  await until(`${count} flows have ended`, () => {
    const flows = session.flows(next);
    assert.equal(flows.missed, 0);
    found.push(...flows.ended);
    ({ next } = flows);
    return found.length >= count;
  });
  assert.equal(found.length, count);
  return found;
}

test('each connection is told of while it is open, and once when it has ended', async () => {
  const before = session.flows();
  const server = net.createServer({ allowHalfOpen: true }, (socket) => {
    left.push(() => socket.destroy());
    socket.on('error', () => {});
    socket.on('data', (data) => {
      if (data.includes('reset')) socket.resetAndDestroy();
      else socket.write('answer');
    });
    socket.on('end', () => socket.end());
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  left.push(() => server.close());
  const to = `127.0.0.1:${server.address().port}`;
  const exchange = await session.exchange('orders', { to });
  left.push(() => exchange.close());
  assert.deepEqual(session.flows().open, [], 'the proof of an exchange is no flow');

  const open = await caller('orders');
  open.write('hello');
  await once(open, 'data');
  const flow = await until('its bytes are counted', () => session.flows().open.find(({ sent }) => sent === 6));
  const { number, began, duration, from, ...told } = flow;
  assert.deepEqual(told, { handle: exchange.id, mode: 'exchange', protocol: 'tcp', to, port: PORT, sent: 6, received: 5 });
  assert.ok(number >= 1 && duration > 0);
  // Whom the interceptor sees: the embedded cluster's Services are proxies.
  assert.match(from, /^127\.\d+\.\d+\.\d+:\d+$/);
  assert.ok(Math.abs(Date.now() - Date.parse(began)) < 600_000, began);
  open.end();
  await gone(open);
  const [finished] = await ended(1, before);
  assert.deepEqual(finished.end, { how: 'finished' });
  assert.deepEqual([finished.number, finished.from, finished.sent, finished.received], [number, from, 6, 5]);

  const { next } = session.flows();
  const reset = await caller('orders');
  reset.write('reset');
  await gone(reset);
  const leaving = await caller('orders');
  leaving.write('hello');
  await once(leaving, 'data');
  leaving.resetAndDestroy();
  const [first, second] = await ended(2, { next });
  assert.deepEqual([first.end, second.end], [{ how: 'reset_here' }, { how: 'reset_there' }]);

  server.close();
  await once(server, 'close');
  const seen = session.flows();
  await gone(await caller('orders'));
  const [refused] = await ended(1, seen);
  assert.deepEqual(refused.end, { how: 'refused', reason: 'connection refused' });
  assert.equal(exchange.stats.refused, 1);
  await exchange.close();
  assert.equal(session.flows(before.next).ended.length, 4, 'what is over is still known');
});

test('a forward tells its flows, too, and those that it ends itself', async () => {
  const { next } = session.flows();
  const forward = await session.forward(`orders:${PORT}`);
  left.push(() => forward.close());
  const response = await fetch(forward.url(), { headers: { connection: 'close' } });
  await response.text();
  const [finished] = await ended(1, { next });
  const { handle, mode, to, port, end } = finished;
  assert.deepEqual([handle, mode, to, port], [forward.id, 'forward', `orders:${PORT}`, forward.port]);
  assert.ok(finished.received > 0 && finished.sent > 0);
  assert.match(finished.from, /^127\.0\.0\.1:\d+$/);
  assert.deepEqual(end, { how: 'finished' });

  const seen = session.flows();
  const open = connecting(forward.port, forward.host);
  await until('it is open', () => session.flows().open.some(({ from }) => from === addressOf(open)));
  await forward.close();
  const [closed] = await ended(1, seen);
  assert.deepEqual(closed.end, { how: 'closed' });
});

test('what is no number that `flows` gave is refused', () => {
  for (const wrong of [-1, 1.5, NaN, '3', null, {}]) assert.throws(() => session.flows(wrong), TypeError);
  const { next } = session.flows();
  assert.deepEqual(session.flows(next + 1000), { open: [], ended: [], missed: 0, next });
});
