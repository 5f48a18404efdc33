'use strict';

const shared = require('./use-session.js');

/** Jest's hooks are global. */
const hook = (name) => (work, limit) => globalThis[name](work, limit * 1000);

function useSession(options) {
  const hooks = { afterAll: hook('afterAll'), afterEach: hook('afterEach'), beforeAll: hook('beforeAll'), beforeEach: hook('beforeEach') };
  return shared.useSession(hooks, options);
}

module.exports = { useSession };
