'use strict';

const crypto = require('node:crypto');

const { call } = require('./native.js');
const { toSchema } = require('./names.js');
const { connect } = require('./session.js');

/** Seconds beyond the engine's own deadlines, which tell more than a test runner's. */
const BEYOND = 5;
const START = 30;
const CLOSE = 30;
/** Seconds within which a namespace is gone. */
const GONE = 60;

/** What a test started, also what it did not wait for. */
class Started {
  #starts = [];
  #over = new AbortController();

  /** Aborted when the test is over. */
  get signal() {
    return this.#over.signal;
  }

  add(handle) {
    const start = { handle, pending: true };
    const settled = () => (start.pending = false);
    handle.then(settled, settled);
    this.#starts.push(start);
  }

  /** Closes all of it, the last first. A start that a runner's limit cut off is given up, and undone in the `session`. */
  async undo(session) {
    const failures = [];
    const cutOff = this.#starts.some(({ pending }) => pending);
    this.#over.abort(new Error('the test that started it is over'));
    // A start that failed was told to the test.
    const outcomes = await Promise.allSettled(this.#starts.map(({ handle }) => handle));
    for (const handle of outcomes.reverse().flatMap(({ value }) => value ?? [])) {
      await handle.close({ deadline: CLOSE }).catch((error) => failures.push(error));
    }
    // The next test may want the same Service.
    if (cutOff) {
      await session?._undone({ signal: AbortSignal.timeout(CLOSE * 1000) }).catch((cause) => {
        failures.push(new Error(`what this test was still starting at its end is not undone after ${CLOSE} s`, { cause }));
      });
    }
    if (failures.length === 1) throw failures[0];
    if (failures.length > 1) throw new AggregateError(failures, 'not everything of this test could be put back');
  }
}

/** What tests use: `session` gives the session or throws, `start` has one work on it, until a signal aborts. */
const kube = (session, start) => ({
  get session() {
    return session();
  },
  exchange: (target, given) => start((on, signal) => on.exchange(target, until(signal, given))),
  forward: (destination, given) => start((on, signal) => on.forward(destination, until(signal, given))),
});

/** The options, with a signal that aborts with this one, too. */
function until(signal, options) {
  if (signal === undefined) return options;
  return { ...options, signal: options?.signal === undefined ? signal : AbortSignal.any([options.signal, signal]) };
}

/**
 * A session for the tests of a file or suite. What a test starts by it is undone at the end of the test, the last first,
 * also when the test failed; what was started before the tests, at their end.
 *
 * `hooks` are the test runner's, each taking a function and a limit in seconds.
 */
function useSession({ beforeAll, afterAll, beforeEach, afterEach }, options = {}) {
  let session;
  // Waited for: node:test runs the hooks of a file at the same time.
  let starting;
  /** Of the running test. */
  let started;

  const current = () => {
    if (session === undefined) throw new Error('the session of useSession() is there while tests and their hooks run');
    return session;
  };

  beforeAll(async () => {
    starting = connect(options);
    session = await starting;
  }, (options.startDeadline ?? START) + BEYOND);
  beforeEach(async () => {
    started = new Started();
  }, BEYOND);
  afterEach(async () => {
    const all = started;
    started = undefined;
    await all?.undo(session);
  }, 2 * CLOSE + BEYOND);
  afterAll(async () => {
    // None, when it could not be started.
    await session?.close({ deadline: CLOSE });
    starting = session = undefined;
  }, CLOSE + BEYOND);

  return kube(current, (work) => {
    const { signal } = started ?? {};
    const handle = (async () => work((await starting) ?? current(), signal))();
    started?.add(handle);
    return handle;
  });
}

/**
 * A namespace for each test, with a session in it: made before the test, closed and removed after it, also when it failed.
 * It is empty: the test brings what it needs.
 */
function useNamespace({ beforeEach, afterEach }, options = {}) {
  const { kubeconfig, context } = options;
  const where = toSchema({ kubeconfig, context });
  /** Of the running test: its `name`, its `session` once there, and what it `started`. */
  let own;

  const current = () => {
    if (own?.session === undefined) throw new Error('the namespace of useNamespace() is there while a test and its hooks run');
    return own;
  };

  beforeEach(async () => {
    const name = `kube-test-${crypto.randomBytes(5).toString('hex')}`;
    const started = new Started();
    const mine = { name, started };
    own = mine;
    // A limit of the runner's may cut these off, too.
    await call('create_namespace', 0, { name }, { session: where, signal: started.signal });
    mine.session = await connect(until(started.signal, { ...options, namespace: name }));
  }, 2 * (options.startDeadline ?? START) + BEYOND);
  afterEach(async () => {
    const { name, session, started } = own ?? {};
    own = undefined;
    if (name === undefined) return;
    try {
      await started.undo(session);
    } finally {
      try {
        await session?.close({ deadline: CLOSE });
      } finally {
        // Also one whose making failed on the way back; one that is not there is gone.
        await call('delete_namespace', 0, { name, deadline: GONE }, { session: where });
      }
    }
  }, 3 * CLOSE + GONE + BEYOND);

  return Object.defineProperty(
    kube(
      () => current().session,
      (work) => {
        const { started } = own ?? {};
        const handle = (async () => work(current().session, started?.signal))();
        started?.add(handle);
        return handle;
      },
    ),
    'name',
    { enumerable: true, get: () => current().name },
  );
}

/** Both, with the hooks of one test runner. */
const withHooks = (hooks) => ({
  useNamespace: (options) => useNamespace(hooks, options),
  useSession: (options) => useSession(hooks, options),
});

module.exports = { withHooks };
