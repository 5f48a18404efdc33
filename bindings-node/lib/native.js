'use strict';
// The way into the engine: calls that settle later, questions that are answered at once, handles by number.

const { Alive } = require('./alive.js');
const { KubetetherError } = require('./errors.js');
const { throwIfAborted } = require('./given.js');
const { FOLDER, load } = require('./load.js');
const { fromSchema } = require('./names.js');

/** Calls under way, by number. */
const calls = new Map();

let module_;
let engine;

/** Loaded when it is first needed. */
function loaded() {
  module_ ??= load();
  return module_;
}

function native() {
  engine ??= new (loaded().Engine)(FOLDER, settle);
  return engine;
}

/** Called by the engine in this thread, once for each call that was not cancelled. */
function settle(number, error, result, handle) {
  const call = calls.get(number);
  if (call === undefined) return;
  calls.delete(number);
  call.done();
  if (error === null) call.resolve(handle === 0 ? parse(result) : { handle, info: parse(result) });
  else call.reject(failure(error, call.from));
}

/** What JSON has no word for is refused, here or by the engine, not taken for nothing. */
function json(options) {
  return JSON.stringify(options, (key, value) => {
    if (typeof value === 'function' || typeof value === 'symbol') throw new TypeError(`${key}: it is a ${typeof value}`);
    return typeof value === 'number' && !Number.isFinite(value) ? String(value) : value;
  });
}

function parse(json) {
  return fromSchema(JSON.parse(json));
}

/** An error of the engine; its stack tells who called. */
function failure(text, from) {
  const error = new KubetetherError(JSON.parse(text));
  const callers = from.stack.split('\n').slice(1);
  error.stack = [`${error.name} [${error.code}]: ${error.message}`, ...callers].join('\n');
  return error;
}

/**
 * Calls `method` of the handle, 0 for none. When `signal` aborts, the call is given up, and what it began is undone in the
 * background. The process stays alive meanwhile, unless it only `waits` for something to happen.
 */
function call(method, handle, options, { session = {}, signal, waits = false } = {}) {
  const from = {};
  Error.captureStackTrace(from, call);
  return new Promise((resolve, reject) => {
    throwIfAborted(signal);
    const number = native().call(method, handle, json(options), json(session));
    const alive = waits ? undefined : new Alive();
    const abort = () => {
      calls.delete(number);
      native().cancel(number);
      done();
      reject(signal.reason);
    };
    const done = () => {
      alive?.release();
      signal?.removeEventListener('abort', abort);
    };
    signal?.addEventListener('abort', abort, { once: true });
    calls.set(number, { resolve, reject, done, from });
  });
}

/** What the handle answers at once; `after` is how much the asker knows already, where that matters. */
function ask(question, handle, after) {
  return parse(native().ask(question, handle, after));
}

/** A subscription to the events of a session. */
function events(session) {
  return native().events(session);
}

/** Drops the handle; what it held in the cluster is put back in the background. */
function release(handle) {
  native().release(handle);
}

/** Who is told the lines of the log; it replaces the one before. */
function log(level, tell) {
  const from = {};
  Error.captureStackTrace(from, log);
  const error = loaded().log(String(level), tell);
  if (error !== null) throw failure(error, from);
}

/** Nobody is. */
function endLog() {
  loaded().logEnd();
}

module.exports = { ask, call, endLog, events, log, release };
