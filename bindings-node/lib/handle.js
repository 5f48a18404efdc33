'use strict';
// What a session and all its handles have.

const { Referable } = require('./alive.js');
const { given, throwIfAborted } = require('./given.js');
const { toSchema } = require('./names.js');
const { ask, call } = require('./native.js');
const unclosed = require('./unclosed.js');

/** Something in force until it is closed. */
class Handle extends Referable {
  #handle;
  #what;
  #watched;
  /** What is done here when it is over. */
  #endings = [];

  /** `also` is done when it was collected, and must not lead to it. */
  constructor(handle, what, also = undefined) {
    super();
    this.#handle = handle;
    this.#what = what;
    this.#watched = unclosed.watch(this, handle, what, also);
  }

  /** Where it stands: `{ state, reason? }`. */
  get state() {
    return this._ask('state');
  }

  /**
   * Puts back what it changed, and returns when that is so. May be called again. What is not done by then, or was given up,
   * goes on in the background, and what is here for it stays until then: callers may still come.
   */
  async close(how = {}) {
    const { signal, ...options } = given(how, 'close()');
    throwIfAborted(signal);
    // Asked to close is as good as closed: that it fails is told by this, not by a warning.
    this.#watched.closed = true;
    try {
      await this._call('close', toSchema(options), { signal });
    } catch (error) {
      // What makes no sense was not asked for.
      if (error?.code === 'config') this.#watched.closed = false;
      else this.#endWhenOver();
      throw error;
    }
    await this._end();
  }

  /** Waits until it is over, as asked or not, and tells what it is then. Keeps the process alive only after `ref()`. */
  closed({ signal } = {}) {
    return this._call('closed', {}, { signal, waits: true });
  }

  async [Symbol.asyncDispose]() {
    await this.close();
  }

  toString() {
    return this.#what;
  }

  #endWhenOver() {
    this._call('closed', {}, { waits: true }).then(
      () => this._end(),
      () => {},
    );
  }

  /** Whether it is closed, or was asked to. @protected */
  _isLetGo() {
    return this.#watched.closed;
  }

  /** What is left to do here when it is over, in the order in which it was said. @protected */
  async _end() {
    this.#watched.closed = true;
    this._over();
    for (const end of this.#endings.splice(0)) await end();
  }

  /** @protected */
  _whenEnded(end) {
    this.#endings.push(end);
  }

  /** @protected */
  _with(use) {
    return use(this.#handle);
  }

  /** @protected */
  _ask(question, after) {
    return ask(question, this.#handle, after);
  }

  /** @protected */
  _call(method, options, how) {
    return call(method, this.#handle, options, how);
  }
}

module.exports = { Handle };
