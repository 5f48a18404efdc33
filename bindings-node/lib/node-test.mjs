import shared from './node-test.js';

export const { useSession } = shared;
