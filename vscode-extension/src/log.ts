// The engine's log, in the output channel, as much of it as the channel's level asks for.

import * as vscode from 'vscode';

import type { Engine, LogLevel } from './engine/engine.js';

const LEVELS: Readonly<Partial<Record<vscode.LogLevel, LogLevel>>> = {
  [vscode.LogLevel.Error]: 'error',
  [vscode.LogLevel.Warning]: 'warn',
  [vscode.LogLevel.Info]: 'info',
  [vscode.LogLevel.Debug]: 'debug',
  [vscode.LogLevel.Trace]: 'trace',
};

export function forwardLog(engine: Engine, channel: vscode.LogOutputChannel): vscode.Disposable {
  let end = begin();
  const subscription = channel.onDidChangeLogLevel(() => {
    end();
    end = begin();
  });
  return { dispose: () => (subscription.dispose(), end()) };

  function begin(): () => void {
    const level = LEVELS[channel.logLevel];
    if (level === undefined) return () => undefined;
    return engine.onLog((line) => channel[line.level](`${line.target}: ${line.message}`), { level });
  }
}
