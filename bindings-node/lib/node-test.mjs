import shared from './node-test.js';

export const { useNamespace, useSession } = shared;
