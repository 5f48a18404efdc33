// Services and ports of the live cluster, proposed while a launch block is written.

import * as vscode from 'vscode';

import type { NamespaceOf, Reader, ServiceInfo } from '../cluster/reader.js';
import { launchAt, type At } from './launchFile.js';

/** A cluster that is slow to answer must not make the editor wait. */
const PATIENCE_MS = 3_000;

/** `placeOf` is where a block in this document leads that names neither, or the one or the other. */
export function registerCompletion(
  reader: Reader,
  placeOf: (uri: vscode.Uri, own: { context?: string; namespace?: string }) => Promise<NamespaceOf | undefined>,
): vscode.Disposable {
  return vscode.languages.registerCompletionItemProvider(
    [{ language: 'jsonc', pattern: '**/launch.json' }, { language: 'json', pattern: '**/launch.json' }],
    {
      async provideCompletionItems(document, position) {
        const at = launchAt(document.getText(), document.offsetAt(position));
        if (at === undefined) return undefined;
        const { context, namespace } = at;
        const place = await placeOf(document.uri, { ...(context ? { context } : {}), ...(namespace ? { namespace } : {}) }).catch(() => undefined);
        if (place === undefined) return undefined;
        const range = new vscode.Range(document.positionAt(at.begin), document.positionAt(at.end));
        return (await servicesOf(reader, place)).flatMap((service) => proposals(service, at, range));
      },
    },
    '"',
    ':',
  );
}

function proposals(service: ServiceInfo, { key }: At, range: vscode.Range): vscode.CompletionItem[] {
  const texts = key === 'exchange' ? [service.name] : service.ports.map(({ port, protocol }) => `${service.name}:${port}${protocol === 'UDP' ? '/udp' : ''}`);
  return texts.map((text) => {
    const item = new vscode.CompletionItem(text, vscode.CompletionItemKind.Reference);
    item.range = range;
    item.detail = `Service, ports ${service.ports.map(({ port }) => port).join(', ')}`;
    return item;
  });
}

/** What the first answer has; nothing when there is none in time. */
function servicesOf(reader: Reader, place: NamespaceOf): Promise<readonly ServiceInfo[]> {
  return new Promise((resolve) => {
    const end = (services: readonly ServiceInfo[]) => {
      clearTimeout(timer);
      watch.dispose();
      resolve(services);
    };
    const timer = setTimeout(() => end([]), PATIENCE_MS);
    const watch = reader.watchServices(place, ({ services }) => end(services));
  });
}
