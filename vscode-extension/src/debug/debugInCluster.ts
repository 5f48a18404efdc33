// "Debug in Cluster…": asks for a launch configuration and a port, writes the block, and starts it.

import * as vscode from 'vscode';

import { askLocalPort } from '../ask.js';
import type { NamespaceOf, ServiceInfo } from '../cluster/reader.js';
import { Mistake } from '../engine/problem.js';
import { configurationsOf, withBlock } from './launchFile.js';
import { DEBUG_TYPES } from './types.js';

interface Choice {
  readonly folder: vscode.WorkspaceFolder;
  readonly file: vscode.Uri;
  readonly name: string;
  readonly type: string;
}

/** Says what is missing as a Mistake; Escape ends it, and nothing was written. */
export async function debugInCluster(place: NamespaceOf, service: ServiceInfo): Promise<void> {
  const choice = await askConfiguration(service);
  if (choice === undefined) return;
  const port = await askLocalPort(service, 'Debug in Cluster');
  if (port === undefined) return;
  const block = { exchange: service.name, port, namespace: place.namespace, context: place.context };
  if ((DEBUG_TYPES as readonly string[]).includes(choice.type)) await writeToFile(choice, block);
  else await writeToSetting(choice, block);
  await vscode.debug.startDebugging(choice.folder, choice.name);
}

async function askConfiguration(service: ServiceInfo): Promise<Choice | undefined> {
  const folders = vscode.workspace.workspaceFolders ?? [];
  if (folders.length === 0) throw new Mistake('config', 'No folder is open', 'Open the folder of the program');
  const choices = (await Promise.all(folders.map(choicesOf))).flat();
  if (choices.length === 0) {
    await vscode.commands.executeCommand('debug.addConfiguration');
    throw new Mistake('config', 'There is no launch configuration yet', 'Add one that starts the program, then choose Debug in Cluster again');
  }
  const several = folders.length > 1;
  const picks = choices.map((choice) => ({ label: choice.name, description: several ? `${choice.type} · ${choice.folder.name}` : choice.type, choice }));
  const title = `Debug in Cluster · ${service.name}`;
  return (await vscode.window.showQuickPick(picks, { title, placeHolder: 'Launch configuration that starts the program' }))?.choice;
}

async function choicesOf(folder: vscode.WorkspaceFolder): Promise<Choice[]> {
  const file = vscode.Uri.joinPath(folder.uri, '.vscode/launch.json');
  try {
    const document = await vscode.workspace.openTextDocument(file);
    return configurationsOf(document.getText()).map(({ name, type }) => ({ folder, file, name, type }));
  } catch {
    // A folder may have none.
    return [];
  }
}

async function writeToFile({ file, name }: Choice, block: Readonly<Record<string, unknown>>): Promise<void> {
  const document = await vscode.workspace.openTextDocument(file);
  const before = document.getText();
  const after = withBlock(before, name, block);
  if (after === undefined) throw new Mistake('config', `launch.json has no configuration ${name} any more`, 'Choose again');
  const edit = new vscode.WorkspaceEdit();
  edit.replace(file, new vscode.Range(document.positionAt(0), document.positionAt(before.length)), after);
  if (!(await vscode.workspace.applyEdit(edit)) || !(await document.save())) {
    throw new Mistake('config', 'launch.json could not be written', 'Check that it is not read-only');
  }
}

/** VS Code would mark the block in launch.json. */
async function writeToSetting({ folder, name }: Choice, block: Readonly<Record<string, unknown>>): Promise<void> {
  const settings = vscode.workspace.getConfiguration('kubetether', folder);
  const own = settings.inspect<Record<string, unknown>>('launch')?.workspaceFolderValue ?? {};
  await settings.update('launch', { ...own, [name]: block }, vscode.ConfigurationTarget.WorkspaceFolder);
}
