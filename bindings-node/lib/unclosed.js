'use strict';
// Handles that nobody closed: collected as garbage, or left open when the program has nothing more to do.

const { writeSync } = require('node:fs');
const { isMainThread } = require('node:worker_threads');

const { ask, release } = require('./native.js');

/** Seconds that the end of the program waits for a session: the engine puts back for 30 of them, and tidies up. */
const AT_END = 40;

/** Sessions that are not over, held weakly. */
const sessions = new Set();

const collected = new FinalizationRegistry(({ handle, what, entry, also }) => {
  if (!entry.closed && !isOver(handle)) {
    warn(`${what} was never closed; it is being put back in the background`);
  }
  release(handle);
  also?.();
});

/**
 * Drops the handle when `holder` was collected. Unless it was closed by then, which the answer is told, or is over, there is
 * a warning. `also` is called too, and must not lead to `holder`.
 */
function watch(holder, handle, what, also) {
  const entry = { closed: false };
  collected.register(holder, { handle, what, entry, also }, holder);
  return entry;
}

/** It was dropped already. */
function forget(holder) {
  collected.unregister(holder);
}

function isOver(handle) {
  const { state } = ask('state', handle);
  return state === 'closed' || state === 'lost';
}

/** Sessions are closed when the program has nothing else to do. */
function closeAtEnd(session) {
  for (const entry of sessions) if (entry.deref() === undefined) sessions.delete(entry);
  if (!process.listeners('beforeExit').includes(atEnd)) {
    // One by one: hosts of extensions have an `on` of their own, which returns nothing.
    process.on('beforeExit', atEnd);
    process.on('exit', atExit);
  }
  const entry = new WeakRef(session);
  sessions.add(entry);
  return () => drop(entry);
}

function drop(entry) {
  sessions.delete(entry);
  if (sessions.size > 0) return;
  process.removeListener('beforeExit', atEnd);
  process.removeListener('exit', atExit);
}

function atEnd() {
  for (const entry of sessions) {
    const session = entry.deref();
    // Once: whatever comes of it, the program ends.
    drop(entry);
    if (session === undefined) continue;
    // One whose close took too long is waited for.
    if (!session._isLetGo()) {
      warn(`the session in namespace ${session.namespace} was never closed; it is closed now, at the end of the program`);
    }
    session.close({ deadline: AT_END }).catch((error) => warn(`what was left open could not be put back: ${error.message}`));
  }
}

/** `process.exit()`, or an exception that nobody caught: nothing can be waited for any more. A worker's sessions outlive it. */
function atExit() {
  if (!isMainThread) return;
  for (const entry of sessions) {
    const session = entry.deref();
    if (session === undefined || session._isLetGo() || session.state.state === 'closed') continue;
    const text = `the process ends with a session open in namespace ${session.namespace}: callers have the original pods again; ` +
      'clean() or `kubetether clean` takes away what is left. Close the session before process.exit()';
    try {
      // A warning would come too late.
      writeSync(2, `(kubetether) KubetetherWarning: ${text}\n`);
    } catch {
      // Nobody reads it.
    }
  }
}

function warn(message) {
  process.emitWarning(message, { type: 'KubetetherWarning', code: 'KUBETETHER_UNCLOSED' });
}

module.exports = { closeAtEnd, forget, watch };
