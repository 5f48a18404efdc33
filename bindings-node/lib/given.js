'use strict';
// What a method is given, looked at before anything begins.

/** `options` of a method; what is no object would be taken for no options at all. */
function given(options, method) {
  if (typeof options !== 'object' || options === null || Array.isArray(options)) {
    throw new TypeError(`${method}: its options are ${options === null ? 'null' : `a ${typeof options}`}, not an object`);
  }
  return options;
}

/** Throws the signal's reason when it has aborted, and when it is none. Those of another realm are as good as ours. */
function throwIfAborted(signal) {
  if (signal === undefined || signal === null) return;
  if (typeof signal.aborted !== 'boolean' || typeof signal.addEventListener !== 'function') {
    const hint = signal.signal === undefined ? '' : '; of a controller it is `.signal`';
    throw new TypeError(`signal: ${String(signal)} is no AbortSignal${hint}`);
  }
  if (signal.aborted) throw signal.reason;
}

module.exports = { given, throwIfAborted };
