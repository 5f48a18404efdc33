'use strict';
// The engine's log, to whoever asks for it.

const { endLog, log } = require('./native.js');

/** Who is told; one at a time, as the log is one. */
let receiver;

/**
 * Has `listener` called with each line of the engine's log, `{ level, target, message }`, up to `level`; instead of the one
 * before. Returns what ends it.
 */
function onLog(listener, { level = 'info' } = {}) {
  if (typeof listener !== 'function') throw new TypeError('the listener of onLog() is no function');
  const me = Symbol('receiver');
  log(level, (level, target, message) => {
    // Lines may be on their way when it ends.
    if (receiver !== me) return;
    try {
      listener({ level, target, message });
    } catch (error) {
      // As from any listener; not back into the engine.
      process.nextTick(() => {
        throw error;
      });
    }
  });
  receiver = me;
  return () => {
    if (receiver !== me) return;
    receiver = undefined;
    endLog();
  };
}

module.exports = { onLog };
