// The code blocks of the README, each run in a process of its own; types are checked before.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';

import ts from 'typescript';

import { startCluster, until } from './support/cluster.mjs';

const PACKAGE = fileURLToPath(new URL('..', import.meta.url));
const FOLDER = path.join(PACKAGE, 'test/.readme');
const text = fs.readFileSync(path.join(PACKAGE, 'README.md'), 'utf8');
const blocks = [...text.matchAll(/^```(js|ts)\n([^]*?)^```/gm)].map(([, language, code]) => ({ language, code }));

let cluster;
before(async () => {
  fs.mkdirSync(FOLDER, { recursive: true });
  cluster = await startCluster({ services: ['orders'] });
});
after(async () => {
  fs.rmSync(FOLDER, { recursive: true, force: true });
  await cluster?.stop();
});

async function run(file) {
  const { NODE_TEST_CONTEXT, ...env } = process.env;
  const child = spawn(process.execPath, [file], { cwd: PACKAGE, env: { ...env, KUBECONFIG: cluster.kubeconfig } });
  let out = '';
  for (const stream of [child.stdout, child.stderr]) stream.setEncoding('utf8').on('data', (data) => (out += data));
  // A program that waits for that.
  child.stdout.on('data', (data) => data.includes('until Ctrl-C') && child.kill('SIGINT'));
  const code = await new Promise((resolve) => child.on('close', resolve));
  return { code, out };
}

function checked(file) {
  const { config } = ts.readConfigFile(path.join(PACKAGE, 'tsconfig.json'), ts.sys.readFile);
  const { options } = ts.parseJsonConfigFileContent(config, ts.sys, PACKAGE);
  const program = ts.createProgram([file], { ...options, noUnusedLocals: false, skipLibCheck: true });
  const problems = ts.getPreEmitDiagnostics(program).map((problem) => ts.flattenDiagnosticMessageText(problem.messageText, '\n'));
  assert.deepEqual(problems, []);
  const { outputText } = ts.transpileModule(fs.readFileSync(file, 'utf8'), {
    compilerOptions: { ...options, module: ts.ModuleKind.ESNext, noEmit: false },
  });
  return outputText;
}

const expected = [/^here: \/orders\/7$/m, /servicePort: 8080/, /# pass 1|pass 1/, /^no_such_target$/m, /^until Ctrl-C$/m];

test('there is an expectation for each block', () => assert.equal(blocks.length, expected.length));

for (const [at, { language, code }] of blocks.entries()) {
  test(`block ${at + 1}`, async () => {
    const file = path.join(FOLDER, `block-${at + 1}.${language === 'ts' ? 'mts' : 'mjs'}`);
    fs.writeFileSync(file, code);
    const runnable = path.join(FOLDER, `run-${at + 1}.mjs`);
    fs.writeFileSync(runnable, language === 'ts' ? checked(file) : code);
    const { code: status, out } = await run(runnable);
    assert.equal(status, 0, out);
    assert.match(out, expected[at]);
    assert.doesNotMatch(out, /Warning/);
    assert.equal(await cluster.ask('orders'), 'cluster');
    await until('nothing is left', () => cluster.isClean());
  });
}

