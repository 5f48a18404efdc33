// A terminal whose programs find the forwards of this window, as a debugged program does.

import * as vscode from 'vscode';

import { variablesOf } from '../debug/addresses.js';
import type { Sessions } from '../sessions/sessions.js';
import { namesOf } from './names.js';

export function openTerminal(sessions: Sessions): void {
  const env = variablesOf(namesOf(sessions.list().flatMap(({ items }) => items.filter((item) => item.kind === 'forward'))));
  const message = Object.entries(env).map(([name, value]) => `${name}=${value}`).join('\r\n');
  const options = { name: 'kubetether', iconPath: new vscode.ThemeIcon('plug'), env };
  vscode.window.createTerminal(message === '' ? options : { ...options, message }).show();
}
