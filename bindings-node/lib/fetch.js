'use strict';
// A handler of fetch requests, as a request listener of `http.Server`.

const { once } = require('node:events');
const { Readable } = require('node:stream');

/** `what` names it in warnings. */
function fetchListener(handler, what) {
  return (incoming, outgoing) => {
    const gone = new AbortController();
    outgoing.on('close', () => gone.abort());
    answer(handler, incoming, outgoing, gone.signal).catch((error) => {
      if (gone.signal.aborted) return;
      process.emitWarning(`the handler of ${what} failed at ${incoming.method} ${incoming.url}: ${error?.stack ?? error}`, {
        type: 'KubetetherWarning',
        code: 'KUBETETHER_HANDLER',
      });
      if (outgoing.headersSent) outgoing.destroy();
      else outgoing.writeHead(500, { 'content-type': 'text/plain' }).end('the handler failed\n');
    });
  };
}

async function answer(handler, incoming, outgoing, signal) {
  const response = await handler(request(incoming, signal));
  if (typeof response?.status !== 'number' || response.headers === undefined) {
    throw new TypeError('it returned no Response');
  }
  outgoing.writeHead(response.status, response.statusText || undefined, headers(response));
  if (response.body === null || incoming.method === 'HEAD') {
    outgoing.end();
    return;
  }
  const body = response.body.getReader();
  const stop = () => body.cancel(signal.reason).catch(() => {});
  signal.addEventListener('abort', stop, { once: true });
  for (;;) {
    const { done, value } = await body.read();
    if (done) break;
    // One who reads slowly is not written to faster.
    if (!outgoing.write(value)) await once(outgoing, 'drain', { signal });
  }
  outgoing.end();
}

function request(incoming, signal) {
  const origin = `http://${incoming.headers.host ?? 'localhost'}`;
  // Joined as text: `//x` would be another host.
  const url = incoming.url.startsWith('/') ? new URL(origin + incoming.url) : new URL(incoming.url, origin);
  const list = [];
  for (let at = 0; at < incoming.rawHeaders.length; at += 2) {
    list.push([incoming.rawHeaders[at], incoming.rawHeaders[at + 1]]);
  }
  const bodiless = incoming.method === 'GET' || incoming.method === 'HEAD';
  return new Request(url, {
    method: incoming.method,
    headers: list,
    signal,
    ...(bodiless ? {} : { body: Readable.toWeb(incoming), duplex: 'half' }),
  });
}

/** Cookies one by one: they cannot be joined. */
function headers(response) {
  const list = [];
  for (const [name, value] of response.headers) if (name !== 'set-cookie') list.push(name, value);
  for (const cookie of response.headers.getSetCookie()) list.push('set-cookie', cookie);
  return list;
}

module.exports = { fetchListener };
