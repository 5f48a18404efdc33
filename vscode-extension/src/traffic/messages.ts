// What the extension host and the page of the traffic panel say to each other.

import type { FlowRow, Name } from './table.js';

interface Facts {
  readonly rows: readonly FlowRow[];
  /** All of them; left out when they are those of the message before. */
  readonly names?: readonly Name[];
  /** Flows that are not kept any more. */
  readonly forgotten: number;
  /** The extension host's clock, which need not be the page's; while it is paused, when it was. */
  readonly now: number;
}

export type ToPage =
  /** All there is to be shown. */
  | (Facts & {
      readonly type: 'all';
      readonly names: readonly Name[];
      readonly paused: boolean;
      /** Which extension host it comes from: another one knows other keys. */
      readonly host: string;
    })
  /** What is new or different. */
  | (Facts & { readonly type: 'some' })
  /** Shows this exchange or forward only, or this session's: a key of `Name`, or what its keys begin with; empty: all. */
  | { readonly type: 'only'; readonly key: string };

export type FromPage =
  /** It can be told. */
  | { readonly type: 'ready' }
  /** A message with rows is shown: the next one may come. */
  | { readonly type: 'taken' }
  | { readonly type: 'copy'; readonly text: string };

/** Undefined for what is none. */
export function fromPage(message: unknown): FromPage | undefined {
  if (typeof message !== 'object' || message === null) return undefined;
  const { type, text } = message as { type?: unknown; text?: unknown };
  if (type === 'ready' || type === 'taken') return { type };
  return type === 'copy' && typeof text === 'string' ? { type, text } : undefined;
}
