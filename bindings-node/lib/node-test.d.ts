export type { Kube } from './use-session.js';
export { useSession } from './use-session.js';
