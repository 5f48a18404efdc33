import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { test } from 'node:test';

import { watchFiles } from '../src/cluster/changes.js';

test('a file that is written, and one that is replaced, are told', async (t) => {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'kubetether-code-'));
  t.after(() => fs.rmSync(folder, { recursive: true }));
  const file = path.join(folder, 'config');
  fs.writeFileSync(file, 'one');
  let tell: () => void = () => undefined;
  const next = () => new Promise<void>((resolve) => (tell = resolve));
  const watch = watchFiles([file, path.join(folder, 'nowhere/config')], () => tell());
  t.after(() => watch.dispose());

  let told = next();
  fs.writeFileSync(file, 'two');
  await told;
  told = next();
  fs.writeFileSync(`${file}.new`, 'three');
  fs.renameSync(`${file}.new`, file);
  await told;
});
