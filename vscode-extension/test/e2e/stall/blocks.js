// How long one extension blocks its host: from a CPU profile, the longest stretch in which each sample has a frame of its script on
// the stack. What it calls counts with it, the engine's and Node's own parts, too, and a garbage collection within. Two turns of the
// event loop with nothing between them count as one. A machine that does other things makes it longer.

/** Of a profile as `Profiler.stop` gives it: milliseconds, and the function of ours that was entered. */
function longestBlock({ nodes, samples, timeDeltas }, script) {
  const byId = new Map(nodes.map((node) => [node.id, node]));
  /** The outermost function of ours of each node. */
  const ours = new Map();
  const visit = (id, outermost) => {
    const { callFrame, children = [] } = byId.get(id);
    const entered = outermost ?? (callFrame.url.includes(script) ? `${callFrame.functionName || 'anonymous'}:${callFrame.lineNumber + 1}` : undefined);
    ours.set(id, entered);
    for (const child of children) visit(child, entered);
  };
  visit(nodes[0].id, undefined);
  const isCollecting = (id) => byId.get(id).callFrame.functionName === '(garbage collector)';

  let longest = { ms: 0, in: '', at: undefined };
  let run;
  samples.forEach((id, at) => {
    // A sample stands for the time until the next one.
    const micros = timeDeltas[at + 1] ?? 0;
    const entered = ours.get(id);
    if (entered === undefined && !(run !== undefined && isCollecting(id))) {
      run = undefined;
      return;
    }
    run ??= { ms: 0, in: entered, at: new Map() };
    run.ms += micros / 1000;
    const { functionName, url, lineNumber } = byId.get(id).callFrame;
    const self = `${functionName || 'anonymous'} ${url.split('/').at(-1)}:${lineNumber + 1}`;
    run.at.set(self, (run.at.get(self) ?? 0) + micros / 1000);
    if (run.ms > longest.ms) longest = run;
  });
  const at = [...(longest.at ?? [])].sort(([, a], [, b]) => b - a).slice(0, 5);
  return { ms: longest.ms, in: longest.in, at: at.map(([name, ms]) => `${ms.toFixed(1)} ms ${name}`) };
}

module.exports = { longestBlock };
