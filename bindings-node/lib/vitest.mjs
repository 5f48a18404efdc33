import { afterAll, afterEach, beforeAll, beforeEach } from 'vitest';

import shared from './use-session.js';

const hook = (register) => (work, limit) => register(work, limit * 1000);

export const { useNamespace, useSession } = shared.withHooks({
  afterAll: hook(afterAll),
  afterEach: hook(afterEach),
  beforeAll: hook(beforeAll),
  beforeEach: hook(beforeEach),
});
