// The package as it travels: packed, installed into an empty folder, loaded both ways, and used.

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

import { startCluster } from './support/cluster.mjs';

const run = promisify(execFile);
const PACKAGE = fileURLToPath(new URL('..', import.meta.url));
const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'kubetether-node-'));

let cluster;
before(async () => {
  cluster = await startCluster({ services: ['orders'] });
});
after(async () => {
  fs.rmSync(folder, { recursive: true, force: true });
  await cluster?.stop();
});

const program = (load) => `
${load}
const main = async () => {
  const session = await connect({ kubeconfig: process.argv[2] });
  const exchange = await session.exchange('orders', { to: () => new Response('name=installed') });
  const forward = await session.forward('orders:8080');
  console.log(version, await (await fetch(forward.url('/'))).text());
  await session.close();
};
main();
`;

test('the tarball installs and works in a clean folder', async () => {
  const { stdout } = await run('npm', ['pack', '--json', '--ignore-scripts', '--pack-destination', folder], { cwd: PACKAGE });
  const [packed] = JSON.parse(stdout);
  const files = packed.files.map((file) => file.path);
  for (const file of ['LICENSE', 'README.md', 'lib/index.d.ts', 'native/kubetether-agent-x86_64', 'native/kubetether-restore-x86_64', 'native/kubetether.linux-x64.node']) {
    assert.ok(files.includes(file), file);
  }
  const others = files.filter((file) => !/^(lib|native)\/|^(LICENSE|README\.md|package\.json)$/.test(file));
  assert.deepEqual(others, []);

  const app = path.join(folder, 'app');
  fs.mkdirSync(app);
  fs.writeFileSync(path.join(app, 'package.json'), '{"name": "app", "private": true}');
  await run('npm', ['install', '--offline', '--ignore-scripts', '--no-audit', '--no-fund', path.join(folder, packed.filename)], { cwd: app });
  assert.deepEqual(fs.readdirSync(path.join(app, 'node_modules')).filter((name) => !name.startsWith('.')), ['kubetether']);

  const loads = {
    'app.mjs': `import { connect, version } from 'kubetether'; import 'kubetether/node-test';`,
    'app.cjs': `const { connect, version } = require('kubetether'); require('kubetether/jest'); require('kubetether/node-test');`,
  };
  for (const [name, load] of Object.entries(loads)) {
    fs.writeFileSync(path.join(app, name), program(load));
    const { stdout: out, stderr } = await run(process.execPath, [name, cluster.kubeconfig], { cwd: app });
    assert.match(out, new RegExp(`^${packed.version} name=installed`), stderr);
  }
  assert.equal(await cluster.ask('orders'), 'cluster');
});

test('a machine without a native module is told so', async () => {
  const copy = path.join(folder, 'copy');
  for (const part of ['lib', 'package.json']) fs.cpSync(path.join(PACKAGE, part), path.join(copy, part), { recursive: true });
  const { stdout } = await run(process.execPath, ['-e', `require(${JSON.stringify(copy)}).connect().catch((error) => console.log(error.code, error.message, error.hint))`]);
  assert.match(stdout, /^internal there is no native module for linux on x64.*npm run build/);
});
