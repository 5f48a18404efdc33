// Tells when one of some files changes, also when it is replaced, as kubectl does with its kubeconfig. Knows no editor.

import fs from 'node:fs';
import path from 'node:path';

import type { Disposable } from '../signal.js';

/** Writers write more than once. */
const GATHER_MS = 200;

export function watchFiles(files: readonly string[], changed: () => void): Disposable {
  let timer: NodeJS.Timeout | undefined;
  // Folders: a watch on a file ends when the file is replaced.
  const folders = new Map<string, Set<string>>();
  for (const file of files) {
    const folder = path.dirname(path.resolve(file));
    folders.set(folder, (folders.get(folder) ?? new Set()).add(path.basename(file)));
  }
  const watches = [...folders].flatMap(([folder, names]) => {
    try {
      const watch = fs.watch(folder, (_, name) => {
        if (name !== null && !names.has(name)) return;
        clearTimeout(timer);
        timer = setTimeout(changed, GATHER_MS);
      });
      // A folder that goes is no more watched; Refresh remains.
      watch.on('error', () => watch.close());
      return [watch];
    } catch {
      // There is no such folder.
      return [];
    }
  });
  return {
    dispose: () => {
      clearTimeout(timer);
      for (const watch of watches) watch.close();
    },
  };
}
