// Questions to the user. Each resolves with undefined when it is left by Escape, and then nothing is done.

import * as vscode from 'vscode';

import type { NamespaceOf, Reader, ServiceInfo, Services } from './cluster/reader.js';
import { oneLine } from './engine/problem.js';

/** A Service of the namespace, from a list that is filled while it is open. */
export function askService(reader: Reader, place: NamespaceOf, title: string): Promise<ServiceInfo | undefined> {
  const pick = vscode.window.createQuickPick<vscode.QuickPickItem & { service?: ServiceInfo }>();
  pick.title = `${title} · ${place.namespace}`;
  pick.placeholder = 'Service';
  pick.busy = true;
  return new Promise((resolve) => {
    const watch = reader.watchServices(place, ({ services, problem }: Services) => {
      pick.busy = false;
      if (problem !== undefined) pick.placeholder = oneLine(problem);
      pick.items = services.map((service) => ({
        label: service.name,
        description: service.ports.map(({ port }) => port).join(', '),
        ...(service.noted ? { detail: 'Somebody holds it' } : {}),
        service,
      }));
    });
    pick.onDidAccept(() => {
      resolve(pick.selectedItems[0]?.service);
      pick.hide();
    });
    pick.onDidHide(() => {
      watch.dispose();
      pick.dispose();
      // After an answer this is the second one, and is not heard.
      resolve(undefined);
    });
    pick.show();
  });
}

/** A port of the Service; the only one is not asked for. */
export async function askServicePort({ name, ports }: ServiceInfo, title: string): Promise<number | undefined> {
  if (ports.length <= 1) return ports[0]?.port;
  const items = ports.map(({ port, name: label, protocol }) => ({
    label: String(port),
    description: [label, protocol === 'TCP' ? undefined : protocol].filter((word) => word !== undefined).join(' · '),
    port,
  }));
  return (await vscode.window.showQuickPick(items, { title: `${title} · ${name}`, placeHolder: 'Port of the Service' }))?.port;
}

/** The port where the user's program listens. */
export async function askLocalPort(service: ServiceInfo, title: string): Promise<number | undefined> {
  const target = Number(service.ports[0]?.target);
  const proposed = Number.isInteger(target) ? target : service.ports[0]?.port;
  const answer = await vscode.window.showInputBox({
    title: `${title} · ${service.name}`,
    prompt: 'Local port where your program listens',
    value: proposed === undefined ? '' : String(proposed),
    validateInput: (text) => (portOf(text) === undefined ? 'A port is a number from 1 to 65535' : undefined),
  });
  return answer === undefined ? undefined : portOf(answer);
}

/** Yes or no, where something of somebody else's is changed. */
export async function confirm(message: string, detail: string, yes: string): Promise<boolean> {
  return (await vscode.window.showWarningMessage(message, { modal: true, detail }, yes)) === yes;
}

function portOf(text: string): number | undefined {
  const port = /^\d{1,5}$/.test(text.trim()) ? Number(text) : 0;
  return port >= 1 && port <= 65535 ? port : undefined;
}
