// launch.json as text: which part of a block is being written there, and a block written into it. Comments stay, and while it is
// edited it may be no valid JSON. Pure.

import { applyEdits, findNodeAtLocation, getLocation, getNodeValue, modify, parseTree } from 'jsonc-parser';

/** What can be completed there. */
export interface At {
  readonly key: 'exchange' | 'forward';
  /** The text's part between the quotes: begin and end. */
  readonly begin: number;
  readonly end: number;
  /** The block's own. */
  readonly namespace: string | undefined;
  readonly context: string | undefined;
}

/** Undefined outside of a text that is the value of `exchange` or of one of `forwards`, in a block. */
export function launchAt(text: string, offset: number): At | undefined {
  const { path, previousNode, isAtPropertyKey } = getLocation(text, offset);
  if (isAtPropertyKey || previousNode?.type !== 'string') return undefined;
  const [begin, end] = [previousNode.offset + 1, endOf(text, previousNode)];
  if (offset < begin || offset > end) return undefined;
  const block = path.lastIndexOf('kubetether');
  const [first, second, more] = path.slice(block + 1);
  if (block === -1 || more !== undefined) return undefined;
  const key = first === 'exchange' && second === undefined ? 'exchange' : first === 'forwards' && typeof second === 'string' ? 'forward' : undefined;
  if (key === undefined) return undefined;
  const tree = parseTree(text);
  const word = (name: string) => {
    const node = tree && findNodeAtLocation(tree, [...path.slice(0, block + 1), name]);
    const value: unknown = node && getNodeValue(node);
    return typeof value === 'string' && value !== '' ? value : undefined;
  };
  return { key, begin, end, namespace: word('namespace'), context: word('context') };
}

export interface Named {
  readonly name: string;
  readonly type: string;
}

/** The launch configurations, in the file's order. */
export function configurationsOf(text: string): readonly Named[] {
  const tree = parseTree(text);
  const list: unknown = tree && getNodeValue(tree)?.configurations;
  if (!Array.isArray(list)) return [];
  return list.filter((each): each is Named => typeof each?.name === 'string' && typeof each?.type === 'string');
}

/** The file's text with this block in the configuration, instead of the one it has; undefined without such a configuration. */
export function withBlock(text: string, configuration: string, block: Readonly<Record<string, unknown>>): string | undefined {
  const tree = parseTree(text);
  const list: unknown = tree && getNodeValue(tree)?.configurations;
  const index = Array.isArray(list) ? list.findIndex((each) => each?.name === configuration) : -1;
  if (index === -1) return undefined;
  const formattingOptions = { insertSpaces: !/^\t/m.test(text), tabSize: indentOf(text), eol: text.includes('\r\n') ? '\r\n' : '\n' };
  return applyEdits(text, modify(text, ['configurations', index, 'kubetether'], block, { formattingOptions }));
}

/** Of its first line that is indented. */
function indentOf(text: string): number {
  return /^( +)\S/m.exec(text)?.[1]?.length ?? 2;
}

/** Before the closing quote; a text without one goes to the end of its line. */
function endOf(text: string, { offset, length }: { offset: number; length: number }): number {
  const closed = length > 1 && text[offset + length - 1] === '"' && text[offset + length - 2] !== '\\';
  return closed ? offset + length - 1 : offset + length;
}
