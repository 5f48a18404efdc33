// 10,000 times started and stopped: memory and descriptors stay what they are.

import assert from 'node:assert/strict';
import fs from 'node:fs';
import { after, before, test } from 'node:test';
import v8 from 'node:v8';
import vm from 'node:vm';

import { connect } from 'kubetether';

import { startCluster } from './support/cluster.mjs';

v8.setFlagsFromString('--expose-gc');
const gc = vm.runInNewContext('gc');

const ROUNDS = 10_000;
const AT_ONCE = 50;
const MIB = 1024 * 1024;

let cluster;
before(async () => {
  cluster = await startCluster({ services: ['orders'] });
});
after(() => cluster?.stop());

test('forwards come and go', async (t) => {
  const session = await connect({ kubeconfig: cluster.kubeconfig });
  // What keeps the agent where it is meanwhile.
  const kept = await session.forward('orders:8080');
  const rounds = async (count) => {
    for (let done = 0; done < count; done += AT_ONCE) {
      await Promise.all(
        Array.from({ length: AT_ONCE }, async () => {
          const forward = await session.forward('orders:8080');
          await forward.close();
        }),
      );
    }
  };
  const held = async () => {
    // Finalizers run after the turn in which something was collected.
    for (let turn = 0; turn < 4; turn++) {
      gc();
      await new Promise((resolve) => setImmediate(resolve));
    }
    const { rss, heapTotal, heapUsed } = process.memoryUsage();
    // What V8 keeps for garbage to come is its own affair.
    return { memory: rss - heapTotal + heapUsed, descriptors: fs.readdirSync('/proc/self/fd').length };
  };

  await rounds(ROUNDS / 4);
  const early = await held();
  await rounds((ROUNDS * 3) / 4);
  const late = await held();
  t.diagnostic(`resident ${(early.memory / MIB).toFixed(1)} -> ${(late.memory / MIB).toFixed(1)} MiB, descriptors ${early.descriptors} -> ${late.descriptors}`);
  await kept.close();
  await session.close();
  assert.ok(late.descriptors <= early.descriptors + 2, 'descriptors grow');
  assert.ok(late.memory < early.memory + 12 * MIB, 'memory grows');
});
