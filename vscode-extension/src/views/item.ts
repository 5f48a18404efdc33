// Rows as the editor has them.

import * as vscode from 'vscode';

import type { Row } from './row.js';

export function treeItem(row: Row): vscode.TreeItem {
  const item = new vscode.TreeItem(row.label, {
    collapsed: vscode.TreeItemCollapsibleState.Collapsed,
    expanded: vscode.TreeItemCollapsibleState.Expanded,
    none: vscode.TreeItemCollapsibleState.None,
  }[row.expand ?? 'none']);
  item.id = row.id;
  item.contextValue = row.kind;
  item.accessibilityInformation = { label: row.spoken };
  if (row.description !== undefined) item.description = row.description;
  if (row.tooltip !== undefined) item.tooltip = row.tooltip;
  if (row.icon !== undefined) {
    const { name, color } = row.icon;
    item.iconPath = new vscode.ThemeIcon(name, color === undefined ? undefined : new vscode.ThemeColor(color));
  }
  return item;
}
