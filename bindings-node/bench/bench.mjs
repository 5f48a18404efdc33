// The figures of the Node face, on the embedded cluster: a table, each with its target, and target/bench/node.json.
//
//   make node-bench                           release builds, on a machine that has nothing else to do
//   KUBETETHER_PROFILE=dev make node-bench    debug builds: quick to build, and no measure of anything
//
// Fails when a figure of the release build is not what it should be.

import fs from 'node:fs';
import http from 'node:http';
import { createRequire } from 'node:module';
import path from 'node:path';
import { monitorEventLoopDelay, performance } from 'node:perf_hooks';
import { fileURLToPath } from 'node:url';

import { connect } from 'kubetether';

import { PORT, startCluster } from '../test/support/cluster.mjs';
import { Figures, median } from './figures.mjs';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const { profile } = createRequire(import.meta.url)('../lib/load.js').load();

const figures = new Figures(profile());
const tell = (...figure) => console.log(figures.add(...figure));

const timed = async (work) => {
  const start = performance.now();
  await work();
  return performance.now() - start;
};

/** What a request takes, on a connection that is open. */
function asker(address) {
  const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
  const ask = () =>
    new Promise((resolve, reject) => {
      const request = http.get(address, { agent }, (response) => response.resume().on('end', resolve));
      request.on('error', reject);
    });
  return { ask, close: () => agent.destroy() };
}

if (profile() !== 'release') console.log(`A ${profile()} build of the native module: these are not its figures.`);
const cluster = await startCluster({ services: ['orders', 'stock', 'carts'] });
const session = await connect({ kubeconfig: cluster.kubeconfig });

// From the call to proven, with an interceptor of an earlier exchange of the same Service.
const warm = [];
for (let run = 0; run < 6; run++) {
  let exchange;
  const took = await timed(async () => {
    exchange = await session.exchange('orders', { to: () => new Response('here') });
  });
  if (run > 0) warm.push(took / 1000);
  await exchange.close();
}
tell('node.exchange.warm', 's', warm, 0.5);

// What a handler adds to the same served from a local port: turn by turn, both through the cluster.
const body = 'x'.repeat(1000);
const plain = http.createServer((_, response) => response.writeHead(200, { 'content-type': 'text/plain' }).end(body));
await new Promise((resolve) => plain.listen(0, '127.0.0.1', resolve));
await session.exchange('orders', { to: plain.address().port });
await session.exchange('stock', { to: { fetch: () => new Response(body) } });
const askers = [];
for (const name of ['orders', 'stock']) {
  askers.push(asker(`http://${(await cluster.service(name)).spec.clusterIP}:${PORT}/`));
}
const added = [];
for (let run = 0; run < 5; run++) {
  const [port, handler] = [[], []];
  for (let turn = 0; turn < 500; turn++) {
    port.push(await timed(askers[0].ask));
    handler.push(await timed(askers[1].ask));
  }
  added.push(median(handler) - median(port));
}
tell('node.handler', 'ms', added, 0.3);
askers.forEach((one) => one.close());
plain.close();

// A question of a handle: into the engine and back.
const calls = [];
for (let run = 0; run < 6; run++) {
  const turns = 10_000;
  const took = await timed(() => {
    for (let turn = 0; turn < turns; turn++) void session.state;
  });
  if (run > 0) calls.push((took * 1000) / turns);
}
tell('node.call', 'us', calls, 20);

// The longest time for which the event loop was held up while calls were begun and ended. A stall of ours is in every run,
// those of a machine that does something else are not: so the least of them counts.
const stalls = [];
const NS_PER_MS = 1e6;
for (let run = 0; run < 8; run++) {
  const delay = monitorEventLoopDelay({ resolution: 1 });
  delay.enable();
  const second = await connect({ kubeconfig: cluster.kubeconfig });
  await second.exchange('carts', { to: () => new Response('here') });
  await second.forward('carts:8080');
  await second.close();
  delay.disable();
  stalls.push(delay.max / NS_PER_MS);
}
tell('node.stall', 'ms', stalls, 10, (runs) => Math.min(...runs));

await session.close();
await cluster.stop();
const packed = path.join(ROOT, 'target/node');
for (const file of fs.readdirSync(packed).filter((name) => name.endsWith('.tgz'))) {
  tell('node.package', 'MiB', [fs.statSync(path.join(packed, file)).size / 1024 ** 2], 15);
}

fs.mkdirSync(path.join(ROOT, 'target/bench'), { recursive: true });
fs.writeFileSync(path.join(ROOT, 'target/bench/node.json'), `${JSON.stringify(figures, null, 2)}\n`);
if (figures.missed.length > 0) {
  console.log(`not reached: ${figures.missed.join(', ')}`);
  process.exitCode = 1;
}
