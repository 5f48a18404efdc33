import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';

import { BLOCK_SCHEMA, DEBUG_TYPES } from '../src/debug/types.js';

// Beside the bundle's own folder, dist/test.
const ROOT = path.join(__dirname, '../..');
const manifest = JSON.parse(fs.readFileSync(path.join(ROOT, 'package.json'), 'utf8'));
const contributes = manifest.contributes;

test('every command is made, and every one that is made is announced', () => {
  const source = fs.readFileSync(path.join(ROOT, 'src/commands.ts'), 'utf8');
  const table = source.slice(source.indexOf('export const COMMANDS'), source.indexOf('\n};'));
  const made = [...table.matchAll(/'(kubetether\.\w+)':/g)].map(([, id]) => id).sort();
  assert.deepEqual(made, contributes.commands.map(({ command }: { command: string }) => command).sort());
});

test('menus name commands that there are', () => {
  const known = new Set(contributes.commands.map(({ command }: { command: string }) => command));
  for (const entries of Object.values<{ command: string }[]>(contributes.menus)) for (const { command } of entries) assert.ok(known.has(command), command);
});

test('the schema in package.json is that of the source: else run contribute.mjs', () => {
  assert.deepEqual(contributes.debuggers.map(({ type }: { type: string }) => type), DEBUG_TYPES);
  for (const { configurationAttributes } of contributes.debuggers) {
    assert.deepEqual(configurationAttributes.launch.properties.kubetether, BLOCK_SCHEMA);
    assert.deepEqual(configurationAttributes.attach.properties.kubetether, BLOCK_SCHEMA);
  }
  assert.deepEqual(contributes.configuration.properties['kubetether.launch'].additionalProperties, BLOCK_SCHEMA);
});

test('no cluster is reached from a workspace that is not trusted', () => {
  assert.equal(manifest.capabilities.untrustedWorkspaces.supported, false);
});

test('it is activated by nothing but its own and the start of debugging', () => {
  assert.deepEqual(manifest.activationEvents, ['onDebugResolve']);
});

test('files that package.json names are there', () => {
  const named = [...JSON.stringify(manifest).matchAll(/"((?:media|walkthrough)\/[^"]+)"/g)].map(([, file]) => file ?? '');
  assert.ok(named.length > 0);
  for (const file of named) assert.ok(fs.existsSync(path.join(ROOT, file)), file);
});

test("the traffic panel's page runs no script but its own, and has no styles and handlers within", () => {
  const source = fs.readFileSync(path.join(ROOT, 'src/traffic/panel.ts'), 'utf8');
  const page = source.slice(source.indexOf('<!DOCTYPE html>'), source.indexOf('</html>'));
  assert.match(page, /content="default-src 'none'; style-src \$\{source\}; script-src 'nonce-\$\{nonce\}'"/);
  assert.doesNotMatch(page, /unsafe|\sstyle=|\son\w+=|<style|https?:/);
  assert.equal(page.match(/<script/g)?.length, 1);
});
