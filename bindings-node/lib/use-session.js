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
  #handles = [];

  add(handle) {
    this.#handles.push(handle);
  }

  /** Closes all of it, the last first. */
  async undo() {
    const failures = [];
    // A start that failed was told to the test; one that a runner's limit cut off is waited for, so that it can be undone.
    const outcomes = await Promise.allSettled(this.#handles);
    for (const handle of outcomes.reverse().flatMap(({ value }) => value ?? [])) {
      await handle.close({ deadline: CLOSE }).catch((error) => failures.push(error));
    }
    if (failures.length === 1) throw failures[0];
    if (failures.length > 1) throw new AggregateError(failures, 'not everything of this test could be put back');
  }
}

/** What tests use: `session` gives the session or throws, `start` has one work on it. */
const kube = (session, start) => ({
  get session() {
    return session();
  },
  exchange: (target, given) => start((on) => on.exchange(target, given)),
  forward: (destination, given) => start((on) => on.forward(destination, given)),
});

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
    await all?.undo();
  }, 2 * CLOSE + BEYOND);
  afterAll(async () => {
    // None, when it could not be started.
    await session?.close({ deadline: CLOSE });
    starting = session = undefined;
  }, CLOSE + BEYOND);

  return kube(current, (work) => {
    const handle = (async () => work((await starting) ?? current()))();
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
    own = { name, started: new Started() };
    await call('create_namespace', 0, { name }, { session: where });
    own.session = await connect({ ...options, namespace: name });
  }, 2 * (options.startDeadline ?? START) + BEYOND);
  afterEach(async () => {
    const { name, session, started } = own ?? {};
    own = undefined;
    if (name === undefined) return;
    try {
      await started.undo();
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
        const handle = (async () => work(current().session))();
        own?.started.add(handle);
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
