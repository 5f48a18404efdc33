// Writes into package.json what is made of the schema of launch blocks (src/debug/types.ts): `debuggers`, and the setting
// `kubetether.launch`. A test says when it has to be run again.

import fs from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

import { build } from 'esbuild';

const here = path.dirname(fileURLToPath(import.meta.url));
const { outputFiles } = await build({ entryPoints: [path.join(here, 'src/debug/types.ts')], bundle: true, format: 'esm', write: false });
const code = Buffer.from(outputFiles[0].contents).toString('base64');
const { BLOCK_SCHEMA, DEBUG_TYPES } = await import(`data:text/javascript;base64,${code}`);

const file = path.join(here, 'package.json');
const manifest = JSON.parse(fs.readFileSync(file, 'utf8'));
const attributes = { properties: { kubetether: BLOCK_SCHEMA } };
// One line each: the schema stands once for every type, since the schemas of launch.json cannot refer to one of ours.
const debuggers = DEBUG_TYPES.map((type) => `      ${JSON.stringify({ type, configurationAttributes: { launch: attributes, attach: attributes } })}`);
manifest.contributes.debuggers = [];
manifest.contributes.configuration.properties['kubetether.launch'].additionalProperties = BLOCK_SCHEMA;
const text = JSON.stringify(manifest, undefined, 2).replace('"debuggers": []', () => `"debuggers": [\n${debuggers.join(',\n')}\n    ]`);
fs.writeFileSync(file, `${text}\n`);
