// A way to a cluster's API server that can be held: what is asked meanwhile is answered when it is let go.

import { once } from 'node:events';
import fs from 'node:fs';
import net from 'node:net';

export async function startGate(kubeconfig) {
  // The embedded cluster writes JSON, which is YAML.
  const config = JSON.parse(fs.readFileSync(kubeconfig, 'utf8'));
  const { hostname, port } = new URL(config.clusters[0].cluster.server);
  const sockets = new Set();
  let held = false;
  const server = net.createServer((near) => {
    const far = net.connect(Number(port), hostname);
    for (const [socket, other] of [[near, far], [far, near]]) {
      sockets.add(socket);
      socket.on('data', (data) => other.write(data));
      socket.on('error', () => {});
      socket.on('end', () => other.end());
      socket.on('close', () => {
        sockets.delete(socket);
        other.destroy();
      });
      if (held) socket.pause();
    }
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  config.clusters[0].cluster.server = `https://127.0.0.1:${server.address().port}`;
  const file = `${kubeconfig}.gate`;
  fs.writeFileSync(file, JSON.stringify(config));
  return {
    kubeconfig: file,
    hold() {
      held = true;
      for (const socket of sockets) socket.pause();
    },
    letGo() {
      held = false;
      for (const socket of sockets) socket.resume();
    },
    close() {
      for (const socket of sockets) socket.destroy();
      server.close();
    },
  };
}
