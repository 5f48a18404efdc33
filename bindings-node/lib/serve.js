'use strict';
// Where the traffic of an exchange goes: an address, or something of this process that is given a port for it.

const http = require('node:http');

const { fetchListener } = require('./fetch.js');

const LOOPBACK = '127.0.0.1';

/**
 * What the engine is told, and how to end what was started for it. `what` names it in warnings.
 *
 * @returns {Promise<{to: number | string | string[], close: () => Promise<void>}>}
 */
async function serve(target, what) {
  if (typeof target?.ports !== 'object' || target.ports === null) return serveOne(target, what);
  const served = [];
  const close = async () => {
    await Promise.all(served.map((one) => one.close()));
  };
  try {
    const to = [];
    for (const [port, one] of Object.entries(target.ports)) {
      served.push(await serveOne(one, `${what}:${port}`));
      to.push(`${served.at(-1).to}:${port}`);
    }
    return { to, close };
  } catch (error) {
    await close();
    throw error;
  }
}

async function serveOne(target, what) {
  if (typeof target === 'number' || typeof target === 'string') return { to: target, close: async () => {} };
  if (typeof target === 'function' && !/^class\b/.test(target)) return serveListener(listenerOf(target, what));
  if (typeof target === 'object' && target !== null) {
    if (typeof target.listen === 'function' && typeof target.address === 'function') return serveServer(target);
    if (typeof target.listener === 'function') return serveListener(target.listener.bind(target));
    if (typeof target.fetch === 'function') return serveListener(fetchListener(target.fetch.bind(target), what));
    const host = target.host ?? LOOPBACK;
    if (typeof target.port === 'number' && typeof host === 'string') return { to: address(host, target.port), close: async () => {} };
  }
  throw new TypeError(
    `to: ${kind(target)} is none of: a port, { host, port }, the path of a unix socket, an http.Server, ` +
      'a request listener, a handler of fetch requests, { fetch }, { listener }, { ports }',
  );
}

/** A request listener has (request, response); a handler of fetch requests has at most (request). */
function listenerOf(handler, what) {
  return handler.length >= 2 ? handler : fetchListener(handler, what);
}

function serveListener(listener) {
  return serveServer(http.createServer(listener));
}

/** One that listens already stays as it is; any other is given a port of its own, and closed at the end. */
async function serveServer(server) {
  if (server.listening) return { to: listeningAt(server), close: async () => {} };
  await new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(0, LOOPBACK, () => {
      server.off('error', reject);
      resolve();
    });
  });
  // What is asked from inside the cluster does not keep this process alive; what the handler does for it may.
  server.unref();
  const sockets = new Set();
  const entered = (socket) => {
    socket.unref();
    sockets.add(socket);
    socket.once('close', () => sockets.delete(socket));
  };
  server.on('connection', entered);
  const close = () =>
    new Promise((resolve) => {
      server.off('connection', entered);
      server.close(() => resolve());
      for (const socket of sockets) socket.destroy();
    });
  return { to: listeningAt(server), close };
}

function listeningAt(server) {
  const at = server.address();
  if (typeof at === 'string') return at;
  if (at.address === '0.0.0.0') return address(LOOPBACK, at.port);
  if (at.address === '::') return address('::1', at.port);
  return address(at.address, at.port);
}

function address(host, port) {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
}

function kind(value) {
  if (value === null) return 'null';
  if (typeof value === 'function') return `the class ${value.name}`;
  if (typeof value !== 'object') return String(value);
  return `an object of ${value.constructor?.name ?? 'no class'}`;
}

module.exports = { serve };
