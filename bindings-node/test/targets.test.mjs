// Everything that a Service can be exchanged to.

import assert from 'node:assert/strict';
import fs from 'node:fs';
import http from 'node:http';
import net from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { once } from 'node:events';
import { after, before, beforeEach, test } from 'node:test';

import express from 'express';
import { connect } from 'kubetether';

import { PORT, startCluster } from './support/cluster.mjs';

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

/** The Service is exchanged to this for as long as `work` takes. */
async function exchanged(to, work) {
  const exchange = await session.exchange('orders', { to });
  try {
    await work(exchange);
  } finally {
    await exchange.close();
  }
}

const listener = (name) => (request, response) => response.end(`name=${name} ${request.method} ${request.url}`);

async function listening(server, ...where) {
  server.listen(...where);
  await once(server, 'listening');
  return server;
}

test('a port, host and port, and a server that listens: it stays as it is', async () => {
  const server = await listening(http.createServer(listener('mine')), 0, '127.0.0.1');
  const { port } = server.address();
  try {
    for (const to of [port, `127.0.0.1:${port}`, { port }, { host: 'localhost', port }, server]) {
      await exchanged(to, async () => assert.equal(await cluster.ask('orders'), 'mine'));
      assert.ok(server.listening);
    }
  } finally {
    server.close();
  }
});

test('a unix socket', async () => {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'kubetether-node-'));
  const server = await listening(http.createServer(listener('socket')), path.join(folder, 'app.sock'));
  try {
    for (const to of [path.join(folder, 'app.sock'), server]) {
      await exchanged(to, async () => assert.equal(await cluster.ask('orders'), 'socket'));
    }
  } finally {
    server.close();
    fs.rmSync(folder, { recursive: true });
  }
});

test('a server that does not listen is given a port, and closed at the end', async () => {
  const server = http.createServer(listener('given'));
  await exchanged(server, async () => {
    assert.equal(server.address().address, '127.0.0.1');
    assert.equal(await cluster.ask('orders'), 'given');
  });
  assert.equal(server.listening, false);
});

test('a server of another protocol', async () => {
  const server = net.createServer((socket) => {
    socket.end('HTTP/1.1 200 OK\r\nconnection: close\r\n\r\nname=raw');
  });
  await exchanged(server, async () => assert.equal(await cluster.ask('orders'), 'raw'));
});

test('a request listener, and an Express application', async () => {
  const app = express().get('/orders/:id', (request, response) => {
    response.send(`name=express-${request.params.id}`);
  });
  await exchanged(listener('listener'), async () => assert.equal(await cluster.ask('orders'), 'listener'));
  await exchanged(app, async () => assert.equal(await cluster.ask('orders', { path: '/orders/7' }), 'express-7'));
  const mock = (...args) => listener('mock')(...args);
  await exchanged({ listener: mock }, async () => assert.equal(await cluster.ask('orders'), 'mock'));
});

test('a handler of fetch requests sees the request, and its response arrives whole', async () => {
  let seen;
  const fetchHandler = async (request) => {
    seen = { url: new URL(request.url), method: request.method, tag: request.headers.get('x-tag'), text: await request.text() };
    const headers = new Headers({ 'content-type': 'text/plain' });
    headers.append('set-cookie', 'a=1');
    headers.append('set-cookie', 'b=2');
    return new Response('made', { status: 201, headers });
  };
  for (const to of [fetchHandler, { fetch: fetchHandler }]) {
    await exchanged(to, async () => {
      const { spec } = await cluster.service('orders');
      const response = await fetch(`http://${spec.clusterIP}:${PORT}//double/slash?q=1`, {
        method: 'POST',
        body: 'x'.repeat(100_000),
        headers: { 'x-tag': 'seen', connection: 'close' },
      });
      assert.equal(response.status, 201);
      assert.deepEqual(response.headers.getSetCookie(), ['a=1', 'b=2']);
      assert.equal(await response.text(), 'made');
      assert.equal(seen.url.host, `${spec.clusterIP}:${PORT}`);
      assert.equal(seen.url.pathname + seen.url.search, '//double/slash?q=1');
      assert.deepEqual([seen.method, seen.tag, seen.text.length], ['POST', 'seen', 100_000]);
    });
  }
});

test('endpoints for the ports of a Service', async () => {
  await exchanged({ ports: { http: () => new Response('name=named') } }, async (exchange) => {
    assert.equal(exchange.ports[0].servicePort, PORT);
    assert.equal(await cluster.ask('orders'), 'named');
  });
  const server = http.createServer(listener('unused'));
  await assert.rejects(session.exchange('orders', { to: { ports: { [PORT]: server, nowhere: 1 } } }), { code: 'no_such_port' });
  assert.equal(server.listening, false);
});

test('what is no target is refused before anything happens', async () => {
  for (const to of [undefined, null, {}, { port: '80' }, { host: 3, port: 80 }, true, Symbol('x'), class Server {}]) {
    await assert.rejects(session.exchange('orders', { to }), TypeError);
  }
  for (const to of ['', 'no port', 0, 70_000, 80.5]) {
    await assert.rejects(session.exchange('orders', { to }), { code: 'config' }, String(to));
  }
});

test('options of no use are refused before anything happens', async () => {
  const controller = new AbortController();
  for (const signal of [controller, 3, {}]) {
    const refused = { name: 'TypeError', message: /^signal: .* is no AbortSignal/ };
    await assert.rejects(connect({ kubeconfig: cluster.kubeconfig, signal }), refused);
    await assert.rejects(session.forward('orders:80', { signal }), refused);
    await assert.rejects(session.exchange('orders', { to: 80, signal }), refused);
    await assert.rejects(session.close({ signal }), refused);
  }
  for (const options of [3, null, 'x', []]) {
    const refused = { name: 'TypeError', message: /its options are/ };
    await assert.rejects(connect(options), refused);
    await assert.rejects(session.exchange('orders', options), refused);
    await assert.rejects(session.forward('orders:80', options), refused);
  }
  for (const who of [() => 'me', Symbol('me')]) {
    await assert.rejects(connect({ kubeconfig: cluster.kubeconfig, who }), { name: 'TypeError', message: /^who: it is a/ });
  }
});

beforeEach(async () => assert.equal(await cluster.ask('orders'), 'cluster'));
