// Runs inside the extension host: what the page does not show. host.e2e.mjs opens the editor on a workspace made for it.

const assert = require('node:assert/strict');
const http = require('node:http');
const vscode = require('vscode');

const ID = 'kubetether.kubetether';
const folder = () => vscode.workspace.workspaceFolders[0];
const launchFile = () => vscode.Uri.joinPath(folder().uri, '.vscode/launch.json');

/** Until it is so; the editor does much by itself, later. */
async function until(what, condition, limit = 60_000) {
  for (const end = Date.now() + limit; ; ) {
    const value = await condition();
    if (value) return value;
    if (Date.now() > end) throw new Error(`${what}: not so within ${limit} ms`);
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}

const tests = {
  async 'it activates, and its commands are there'() {
    const extension = vscode.extensions.getExtension(ID);
    const api = await extension.activate();
    assert.equal(api.version, 1);
    const known = await vscode.commands.getCommands(true);
    for (const { command } of extension.packageJSON.contributes.commands) assert.ok(known.includes(command), command);
  },

  async 'Services and ports of the live cluster are proposed in launch.json'() {
    const document = await vscode.workspace.openTextDocument(launchFile());
    await vscode.window.showTextDocument(document);
    const proposed = async (before) => {
      const at = document.positionAt(document.getText().indexOf(before) + before.length);
      const { items } = await vscode.commands.executeCommand('vscode.executeCompletionItemProvider', document.uri, at);
      return items.map(({ label }) => label);
    };
    await until('Services are proposed', async () => (await proposed('"exchange": "')).includes('orders'));
    assert.ok((await proposed('"STOCK": "')).includes('stock:8080'));
  },

  async 'launch.json with a block has no marks, and a wrong key has one'() {
    const document = await vscode.workspace.openTextDocument(launchFile());
    // The wrong one tells that the schema is read; by then the others would have theirs.
    const marks = await until('the wrong key is marked', () => {
      const found = vscode.languages.getDiagnostics(document.uri);
      return found.length > 0 && found;
    });
    assert.deepEqual(marks.map(({ range }) => document.getText(range)), ['"prot"'], marks.map(({ message }) => message).join('; '));
  },

  async 'the program has the addresses, and its debugger no block'() {
    const started = new Promise((resolve) => {
      const listener = vscode.debug.onDidStartDebugSession((session) => (listener.dispose(), resolve(session)));
    });
    assert.equal(await vscode.debug.startDebugging(folder(), 'forwards'), true);
    const session = await started;
    const { env, args, kubetether } = session.configuration;
    assert.equal(kubetether, undefined);
    assert.equal(env.STOCK_ADDRESS, `${env.STOCK_HOST}:${env.STOCK_PORT}`);
    assert.deepEqual(args, [env.STOCK_ADDRESS]);
    assert.match(await (await fetch(`http://${env.STOCK_ADDRESS}/`)).text(), /name=cluster/);
    await vscode.debug.stopDebugging(session);
    await until('the forward ends with it', () => fetch(`http://${env.STOCK_ADDRESS}/`).then(() => false, () => true));
  },

  async 'other extensions start and end what they need'() {
    const api = await vscode.extensions.getExtension(ID).activate();
    const server = http.createServer((_, response) => response.end('by the API')).listen(0, '127.0.0.1');
    await new Promise((resolve) => server.once('listening', resolve));
    const session = api.startSession();
    const forward = await session.forward('orders:8080');
    const ask = async () => (await fetch(`http://${forward.host}:${forward.port}/`, { headers: { connection: 'close' } })).text();
    assert.match(await ask(), /name=cluster/);
    const exchange = await session.exchange('orders', { port: server.address().port });
    assert.equal(await ask(), 'by the API');
    await exchange.close();
    assert.match(await ask(), /name=cluster/);
    await forward.close();
    server.close();
  },

  async 'given up, nothing begins'() {
    const api = await vscode.extensions.getExtension(ID).activate();
    await assert.rejects(api.startSession().exchange('orders', { port: 1, signal: AbortSignal.abort() }), { name: 'AbortError' });
  },
};

exports.run = async () => {
  let failed = 0;
  for (const [name, test] of Object.entries(tests)) {
    try {
      await test();
      console.log(`ok - ${name}`);
    } catch (error) {
      failed++;
      console.log(`not ok - ${name}: ${error.stack}`);
    }
  }
  if (failed > 0) throw new Error(`${failed} failed`);
};
