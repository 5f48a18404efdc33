// Handlers that misbehave: the exchange goes on.

import assert from 'node:assert/strict';
import { once } from 'node:events';
import http from 'node:http';
import { after, before, test } from 'node:test';

import { connect } from 'kubetether';

import { PORT, startCluster, until } from './support/cluster.mjs';

const MIB = 1024 * 1024;

let cluster;
let session;
let exchange;
let address;
let hung = 0;
let aborted = 0;

before(async () => {
  cluster = await startCluster({ services: ['orders'] });
  session = await connect({ kubeconfig: cluster.kubeconfig });
  exchange = await session.exchange('orders', { to: { fetch: handler } });
  address = `http://${(await cluster.service('orders')).spec.clusterIP}:${PORT}`;
});
after(async () => {
  await session?.close();
  await cluster?.stop();
});

async function handler(request) {
  switch (new URL(request.url).pathname) {
    case '/throws':
      throw new Error('on purpose');
    case '/nothing':
      return undefined;
    case '/hangs':
      hung += 1;
      request.signal.addEventListener('abort', () => (aborted += 1));
      return new Promise(() => {});
    case '/breaks':
      return new Response(new ReadableStream({ pull: (stream) => stream.error(new Error('in the middle')) }));
    case '/slow':
      return new Response(
        new ReadableStream({
          async start(stream) {
            for (const word of ['slow', 'and', 'whole']) {
              stream.enqueue(new TextEncoder().encode(`${word} `));
              await new Promise((resolve) => setTimeout(resolve, 100));
            }
            stream.close();
          },
        }),
      );
    case '/big': {
      let left = 100;
      const piece = new Uint8Array(MIB).fill(120);
      return new Response(
        new ReadableStream({
          pull(stream) {
            if (left === 0) stream.close();
            else stream.enqueue(piece);
            left -= 1;
          },
        }),
      );
    }
    default:
      return new Response('fine');
  }
}

const warned = async (work) => {
  const warning = once(process, 'warning');
  await work();
  return (await warning)[0];
};

test('one that throws answers 500 and is told', async () => {
  for (const [at, why] of [['/throws', /on purpose/], ['/nothing', /no Response/]]) {
    const warning = await warned(async () => assert.equal((await fetch(address + at)).status, 500));
    assert.equal(warning.code, 'KUBETETHER_HANDLER');
    assert.match(warning.message, why);
    assert.match(warning.message, new RegExp(`orders.*GET ${at}`));
  }
});

test('one that breaks in the middle is seen as broken', async () => {
  await warned(() => assert.rejects(fetch(`${address}/breaks`).then((response) => response.text())));
});

test('one that hangs holds up nobody else, and is told when its caller went away', async () => {
  const gone = new AbortController();
  const hanging = fetch(`${address}/hangs`, { signal: gone.signal });
  assert.equal(await (await fetch(address)).text(), 'fine');
  gone.abort();
  await assert.rejects(hanging);
  await until('the handler is told', () => aborted === 1);
});

test('a slow answer and one of 100 MiB arrive whole', async () => {
  assert.equal(await (await fetch(`${address}/slow`)).text(), 'slow and whole ');
  let size = 0;
  for await (const chunk of (await fetch(`${address}/big`)).body) size += chunk.length;
  assert.equal(size, 100 * MIB);
});

test('a close does not wait for one that hangs', async () => {
  const before = hung;
  const hanging = fetch(`${address}/hangs`).catch((error) => error);
  await until('it hangs', () => hung > before);
  await exchange.close();
  assert.ok((await hanging) instanceof Error);
  assert.equal(await cluster.ask('orders'), 'cluster');
});
