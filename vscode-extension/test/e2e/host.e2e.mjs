// Tests inside the extension host: host/index.js.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';

import { startCluster, until } from '../../../bindings-node/test/support/cluster.mjs';
import { openEditor } from './editor.mjs';

const LAUNCH = `{
  "version": "0.2.0",
  "configurations": [
    {
      "type": "node",
      "request": "launch",
      "name": "forwards",
      "program": "\${workspaceFolder}/program.js",
      "args": ["\${kubetether:STOCK}"],
      "kubetether": { "forwards": { "STOCK": "stock:8080" } }
    },
    {
      "type": "node",
      "request": "launch",
      "name": "exchange",
      "program": "\${workspaceFolder}/program.js",
      "kubetether": { "exchange": "orders", "port": 8080 }
    },
    {
      "type": "node",
      "request": "launch",
      "name": "wrong",
      "program": "\${workspaceFolder}/program.js",
      "kubetether": { "exchange": "orders", "port": 8080, "prot": 8080 }
    }
  ]
}
`;

test('inside the extension host', { timeout: 600_000 }, async (t) => {
  const cluster = await startCluster({ services: ['orders', 'stock'] });
  t.after(() => cluster.stop());
  const window = await openEditor({
    name: 'host',
    env: { KUBECONFIG: cluster.kubeconfig },
    inHost: fileURLToPath(new URL('host/index.js', import.meta.url)),
    files: { 'program.js': 'setInterval(() => {}, 1000);\n', '.vscode/launch.json': LAUNCH },
  });
  t.after(() => window.close());
  const { code, lines } = await window.step('the tests run', () => window.inHost);
  for (const line of lines) t.diagnostic(line);
  assert.equal(code, 0, lines.join('\n'));
  assert.ok(lines.length > 0, 'none of them ran');
  await until('the cluster is as it was', () => cluster.isClean());
});
