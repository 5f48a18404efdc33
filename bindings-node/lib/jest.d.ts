export type { Kube, KubeNamespace } from './use-session.js';
export { useNamespace, useSession } from './use-session.js';
