// The engine's log, to a listener.

import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';

import { connect, onLog } from 'kubetether';

import { startCluster, until } from './support/cluster.mjs';

let cluster;
before(async () => {
  cluster = await startCluster({ services: ['orders'] });
});
after(() => cluster?.stop());

async function visit() {
  const session = await connect({ kubeconfig: cluster.kubeconfig });
  await session.forward('orders:8080');
  await session.close();
}

test('lines come up to the level, to the last listener, until it ends', async () => {
  const levels = ['error', 'warn', 'info', 'debug', 'trace'];
  const first = [];
  const lines = [];
  const endFirst = onLog((line) => first.push(line), { level: 'trace' });
  const end = onLog((line) => lines.push(line), { level: 'debug' });
  await visit();
  await until('it is told', () => lines.some(({ level }) => level === 'debug'));
  for (const { level, target, message } of lines) {
    assert.ok(levels.indexOf(level) >= 0 && levels.indexOf(level) <= levels.indexOf('debug'), level);
    assert.match(target, /^kubetether/);
    assert.ok(message.length > 0);
  }
  assert.deepEqual(first, []);
  // One that was replaced ends nothing.
  endFirst();
  const told = lines.length;
  await visit();
  await until('it goes on', () => lines.length > told);
  end();
  const last = lines.length;
  await visit();
  assert.equal(lines.length, last);
  end();
});

test('what is no listener or no level is refused', () => {
  assert.throws(() => onLog(undefined), TypeError);
  assert.throws(() => onLog(() => {}, { level: 'loud' }), (error) => {
    assert.equal(error.code, 'argument');
    assert.match(error.message, /"loud" is no level of the log: those are error, warn, info, debug, trace/);
    assert.match(error.stack, /log\.test\.mjs/);
    return true;
  });
});

const run = (text) => {
  const script = `import { connect, onLog } from 'kubetether'; ${text}`;
  return spawnSync(process.execPath, ['--input-type=module', '--eval', script, cluster.kubeconfig], {
    cwd: fileURLToPath(new URL('.', import.meta.url)),
    encoding: 'utf8',
  });
};

test('it does not keep the process alive', () => {
  const { status, stderr } = run(`onLog(() => {}, { level: 'trace' });`);
  assert.equal(status, 0, stderr);
});

test('a listener that throws is an uncaught exception, as any', () => {
  const { status, stdout } = run(`
    process.on('uncaughtException', (error) => { console.log('uncaught', error.message); });
    let times = 0;
    onLog(() => { if (times++ === 0) throw new Error('on purpose'); }, { level: 'trace' });
    await (await connect({ kubeconfig: process.argv[1] })).close();
    while (times === 0) await new Promise((resolve) => setTimeout(resolve, 10));
    await new Promise((resolve) => setImmediate(resolve));
  `);
  assert.equal(status, 0);
  assert.equal(stdout, 'uncaught on purpose\n');
});
