'use strict';

const { withHooks } = require('./use-session.js');

/** Jest's hooks are global. */
const hook = (name) => (work, limit) => globalThis[name](work, limit * 1000);

module.exports = withHooks({
  afterAll: hook('afterAll'),
  afterEach: hook('afterEach'),
  beforeAll: hook('beforeAll'),
  beforeEach: hook('beforeEach'),
});
