// Where in a launch.json one is: which key of a block is being written. Pure: text and offset in, answer out. The file is being
// edited, so that it may be no valid JSON at the moment.

/** What can be completed there. */
export interface At {
  readonly key: 'exchange' | 'forward';
  /** The text's part between the quotes: begin and end. */
  readonly begin: number;
  readonly end: number;
  /** The block's own, where it is written before. */
  readonly namespace: string | undefined;
  readonly context: string | undefined;
}

/** Undefined outside of a text that is the value of `exchange` or of one of `forwards`, in a block. */
export function launchAt(text: string, offset: number): At | undefined {
  const stack: { key: string | undefined; words: Map<string, string> }[] = [];
  let key: string | undefined;
  let afterColon = false;
  for (let at = 0; at < text.length; ) {
    const char = text[at];
    if (char === '"') {
      const end = endOfText(text, at);
      const value = text.slice(at + 1, end);
      const top = stack.at(-1);
      if (offset > at && offset <= end) {
        if (!afterColon || key === undefined) return undefined;
        return found(stack, key, at + 1, end);
      }
      if (afterColon && key !== undefined) top?.words.set(key, value);
      else key = value;
      at = end + 1;
      continue;
    }
    if (at >= offset) return undefined;
    if (char === '/' && text[at + 1] === '/') at = indexOr(text, '\n', at);
    else if (char === '/' && text[at + 1] === '*') at = indexOr(text, '*/', at) + 1;
    else if (char === ':') afterColon = true;
    else if (char === ',') [afterColon, key] = [false, undefined];
    else if (char === '{' || char === '[') {
      stack.push({ key: afterColon ? key : undefined, words: new Map() });
      [afterColon, key] = [false, undefined];
    } else if (char === '}' || char === ']') {
      stack.pop();
      [afterColon, key] = [false, undefined];
    }
    at++;
  }
  return undefined;
}

function found(stack: readonly { key: string | undefined; words: Map<string, string> }[], key: string, begin: number, end: number): At | undefined {
  const [above, top] = [stack.at(-2), stack.at(-1)];
  const block = top?.key === 'kubetether' ? top : top?.key === 'forwards' && above?.key === 'kubetether' ? above : undefined;
  if (block === undefined || (block === top && key !== 'exchange')) return undefined;
  return {
    key: block === top ? 'exchange' : 'forward',
    begin,
    end,
    namespace: block.words.get('namespace'),
    context: block.words.get('context'),
  };
}

/** The closing quote, or the end of the line while there is none yet. */
function endOfText(text: string, begin: number): number {
  for (let at = begin + 1; at < text.length; at++) {
    if (text[at] === '\\') at++;
    else if (text[at] === '"' || text[at] === '\n') return at;
  }
  return text.length;
}

function indexOr(text: string, what: string, from: number): number {
  const at = text.indexOf(what, from + 1);
  return at === -1 ? text.length : at;
}
