// The status bar's item: there while something is held.

import * as vscode from 'vscode';

import type { Sessions } from '../sessions/sessions.js';
import { statusText } from './sessionRows.js';

export function registerStatusBar(sessions: Sessions): vscode.Disposable {
  const item = vscode.window.createStatusBarItem('kubetether.status', vscode.StatusBarAlignment.Left, 40);
  item.name = 'kubetether';
  item.command = 'kubetether.actions';
  const draw = () => {
    const status = statusText(sessions.list());
    void vscode.commands.executeCommand('setContext', 'kubetether.active', status !== undefined);
    if (status === undefined) return item.hide();
    item.text = status.text;
    item.tooltip = status.tooltip;
    item.accessibilityInformation = { label: `kubetether: ${status.text.replace(/\$\([^)]*\) /g, '')}`, role: 'button' };
    const color = { calm: undefined, warning: 'statusBarItem.warningBackground', error: 'statusBarItem.errorBackground' }[status.severity];
    item.backgroundColor = color === undefined ? undefined : new vscode.ThemeColor(color);
    item.show();
  };
  draw();
  const subscription = sessions.changed.listen(draw);
  return vscode.Disposable.from(item, subscription);
}
