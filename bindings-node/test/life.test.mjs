// What becomes of handles when nobody closes them, and of calls when nobody waits for them: each in a process of its own.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';

import { startCluster, until } from './support/cluster.mjs';

const HERE = fileURLToPath(new URL('.', import.meta.url));

let cluster;
before(async () => {
  cluster = await startCluster({ services: ['orders', 'stock'] });
});
const children = [];
after(async () => {
  children.forEach((child) => child.kill('SIGKILL'));
  await cluster?.stop();
});

/** A program with `connect`, `here` (a handler), `until` and `cluster.ask` at hand; what it writes and how it ends. */
function program(text, ...flags) {
  const head = `
    import { connect, status } from 'kubetether';
    import { setTimeout as sleep } from 'node:timers/promises';
    import { until } from './support/cluster.mjs';
    import { Worker } from 'node:worker_threads';
    const options = { kubeconfig: ${JSON.stringify(cluster.kubeconfig)} };
    const to = () => new Response('name=here');
  `;
  const child = spawn(process.execPath, [...flags, '--input-type=module', '--eval', head + text], {
    cwd: HERE,
    stdio: ['pipe', 'pipe', 'pipe'],
  });
  children.push(child);
  let out = '';
  let err = '';
  child.stdout.setEncoding('utf8').on('data', (data) => (out += data));
  child.stderr.setEncoding('utf8').on('data', (data) => (err += data));
  return {
    child,
    printed: (line) => until(`it prints ${line}`, () => {
      if ((child.exitCode ?? child.signalCode) !== null && !out.includes(line)) throw new Error(`it ended with ${child.exitCode}: ${out}${err}`);
      return out.includes(line);
    }),
    ended: async () => {
      const stuck = setTimeout(() => child.kill('SIGKILL'), 240_000);
      if (child.exitCode === null && child.signalCode === null) await once(child, 'exit');
      clearTimeout(stuck);
      return { code: child.exitCode ?? child.signalCode, out, err };
    },
  };
}

const isRestored = async () => {
  assert.equal(await cluster.ask('orders'), 'cluster');
  await until('nothing is left', () => cluster.isClean());
};

test('open handles do not keep the process alive: at its end the session is closed, with a warning', async () => {
  const run = program(`
    const session = await connect(options);
    await session.exchange('orders', { to });
    session.closed().then(() => {});
    (async () => { for await (const event of session.events()) void event; })();
  `);
  const { code, err } = await run.ended();
  assert.equal(code, 0, err);
  assert.match(err, /KUBETETHER_UNCLOSED.*session in namespace default was never closed/);
  await isRestored();
});

test('a session whose close took too long is waited for at the end, and callers are answered until then', async () => {
  const run = program(`
    const session = await connect(options);
    await session.exchange('orders', { to });
    process.stdin.once('data', async () => {
      process.stdin.destroy();
      await session.close({ deadline: 1 }).catch((error) => console.log('too long:', error.code));
    });
    console.log('up');
  `);
  await run.printed('up');
  const { id } = await cluster.fault({ verbs: ['patch'], resource: 'services', name: 'orders', refuse: { code: 403 } });
  run.child.stdin.write('end\n');
  await run.printed('too long: deadline');
  assert.equal(await cluster.ask('orders'), 'here');
  assert.equal(run.child.exitCode, null);
  await cluster.api('DELETE', `/sim/faults/${id}`);
  const { code, err } = await run.ended();
  assert.equal(code, 0, err);
  // It was closed: what took too long was told already.
  assert.doesNotMatch(err, /KUBETETHER_UNCLOSED/);
  assert.ok(await cluster.isClean());
  await isRestored();
});

test('ref() keeps it alive until it is closed or told to unref()', async () => {
  const run = program(`
    const session = (await connect(options)).ref();
    const exchange = (await session.exchange('orders', { to })).ref();
    process.stdin.once('data', async () => {
      process.stdin.destroy();
      session.unref();
      await exchange.close();
      // What is over has nothing to live for.
      exchange.ref();
      console.log('closed');
    });
    process.stdin.unref();
    console.log('up');
  `);
  await run.printed('up');
  assert.equal(await cluster.ask('orders'), 'here');
  assert.equal(run.child.exitCode, null);
  run.child.stdin.write('end\n');
  const { code, out } = await run.ended();
  assert.equal(code, 0);
  assert.match(out, /closed/);
  await isRestored();
});

test('handles that are collected unclosed give a warning, and the cluster is restored', async () => {
  const run = program(
    `
    const warnings = [];
    process.on('warning', (warning) => warnings.push(warning.message));
    const session = await connect(options);
    await (async () => { await session.exchange('orders', { to }); })();
    await (async () => { await (await connect(options)).exchange('stock', { to }); })();
    await until('a warning', () => { gc(); return warnings.some((warning) => warning.includes('session')); });
    await until('its session is over', async () => (await status({ ...options, patience: 0 })).sessions.length === 1, { limit: 200_000 });
    // What a session that is held has in force stays, whoever else forgets it.
    console.log('services:', (await status({ ...options, patience: 0 })).services.map(({ service }) => service));
    await session.close();
    console.log(warnings.sort());
    `,
    '--expose-gc',
  );
  const { code, out, err } = await run.ended();
  assert.equal(code, 0, err);
  assert.match(out, /services: \[ 'orders' \]/);
  assert.match(out, /the exchange of stock was never closed[^]*the session in namespace default was never closed/);
  assert.doesNotMatch(out, /exchange of orders/);
  assert.equal(await cluster.ask('stock'), 'cluster');
  await isRestored();
});

test('a worker that is terminated in the middle of calls leaves nothing', async () => {
  const run = program(`
    const work = \`
      const { parentPort, workerData } = require('node:worker_threads');
      const { connect } = require('kubetether');
      connect(workerData).then(async (session) => {
        await session.exchange('orders', { to: () => new Response('name=worker') });
        const second = session.exchange('stock', { to: 1 });
        for await (const event of session.events()) {
          if (event.type === 'snapshot') parentPort.postMessage('up');
        }
        await second;
      });
      setInterval(() => {}, 1000);
    \`;
    for (let round = 0; round < 2; round++) {
      const worker = new Worker(work, { eval: true, execArgv: [], workerData: options });
      await new Promise((resolve, reject) => worker.once('message', resolve).once('error', reject));
      await worker.terminate();
      // The process lives on: what the worker held is put back in the background.
      await until('its session is over', async () => (await status({ ...options, patience: 0 })).sessions.length === 0, { limit: 100_000 });
    }
    console.log('done');
  `);
  const { code, out, err } = await run.ended();
  assert.equal(code, 0, err);
  assert.match(out, /done/);
  await isRestored();
  assert.equal(await cluster.ask('stock'), 'cluster');
});

test('several threads have sessions of their own at the same time', async () => {
  const run = program(`
    const work = \`
      const { parentPort, workerData } = require('node:worker_threads');
      const { connect } = require('kubetether');
      (async () => {
        const session = await connect(workerData.options);
        const exchange = await session.exchange(workerData.service, { to: () => new Response('name=' + workerData.service) });
        parentPort.postMessage('up');
        parentPort.once('message', async () => { await session.close(); parentPort.close(); });
      })();
    \`;
    const workers = ['orders', 'stock'].map((service) => new Worker(work, { eval: true, execArgv: [], workerData: { options, service } }));
    await Promise.all(workers.map((worker) => new Promise((resolve, reject) => worker.once('message', resolve).once('error', reject))));
    console.log('up');
    process.stdin.once('data', () => workers.forEach((worker) => worker.postMessage('end')));
    await Promise.all(workers.map((worker) => new Promise((resolve) => worker.once('exit', resolve))));
    process.stdin.destroy();
  `);
  await run.printed('up');
  assert.equal(await cluster.ask('orders'), 'orders');
  assert.equal(await cluster.ask('stock'), 'stock');
  run.child.stdin.write('end\n');
  assert.equal((await run.ended()).code, 0);
  await isRestored();
});

test('a process that is killed harms no caller', async () => {
  const run = program(`
    const session = (await connect(options)).ref();
    await session.exchange('orders', { to });
    console.log('up');
  `);
  await run.printed('up');
  assert.equal(await cluster.ask('orders'), 'here');
  run.child.kill('SIGKILL');
  await run.ended();
  await until('the original answers', async () => (await cluster.ask('orders')) === 'cluster');
});

// The last one: what it leaves is there until somebody cleans up.
test('a process that ends at once says what it leaves, and a worker that ends does not', async () => {
  const open = 'const session = await connect(options);';
  const worker = `
    const code = \`import('kubetether').then(({ connect }) => connect(\${JSON.stringify(options)})).then(() => process.exit())\`;
    await new Promise((ended) => new Worker(code, { eval: true }).on('exit', ended));
  `;
  for (const [text, expected] of [[`${open} process.exit(3);`, 3], [`${open} throw new Error('nobody catches it');`, 1], [worker, 0]]) {
    const { code, err } = await program(text).ended();
    assert.equal(code, expected, err);
    assert.equal(err.includes('the process ends with a session open in namespace default'), expected !== 0, err);
  }
});
