// Writes { activation, rss } into the file KUBETETHER_PROBE: milliseconds of activation, and the bytes that the extension with a
// session, an exchange and a forward adds to the extension host.

const fs = require('node:fs');
const v8 = require('node:v8');
const vm = require('node:vm');
const vscode = require('vscode');

exports.activate = async () => {
  const { KUBETETHER_PROBE: file, KUBETETHER_PROBE_PORT: port } = process.env;
  v8.setFlagsFromString('--expose-gc');
  const gc = vm.runInNewContext('gc');
  const resident = () => (gc(), process.memoryUsage().rss);
  try {
    const before = resident();
    const start = performance.now();
    const api = await vscode.extensions.getExtension('kubetether.kubetether').activate();
    const activation = performance.now() - start;
    const session = api.startSession();
    const forward = await session.forward('stock:8080');
    const exchange = await session.exchange('orders', { port: Number(port) });
    const rss = resident() - before;
    write({ activation, rss });
    await exchange.close();
    await forward.close();
  } catch (error) {
    write({ error: String(error) });
  }

  function write(result) {
    fs.writeFileSync(`${file}.new`, JSON.stringify(result));
    fs.renameSync(`${file}.new`, file);
  }
};
