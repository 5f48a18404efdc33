import type { Exchange, ExchangeOptions, Forward, ForwardOptions, Session, SessionOptions } from './index.js';

/** A session for the tests of a file or suite; tests that run at the same time need one each. */
export interface Kube {
  /** There while tests and their hooks run. */
  readonly session: Session;
  /**
   * `session.exchange`, undone at the end of the test; at the end of the suite when it was started before the tests. One that
   * is not there yet when the test ends, as when the runner's limit cut it off, is given up.
   */
  exchange(target: string, options: ExchangeOptions): Promise<Exchange>;
  /** `session.forward`, undone likewise. */
  forward(destination: string, options?: ForwardOptions): Promise<Forward>;
}

/** Starts a session before the tests of the file or suite it is called in, and closes it after them. */
export declare function useSession(options?: SessionOptions): Kube;

/** A namespace for the running test, with a session in it; tests that run at the same time need one each. */
export interface KubeNamespace extends Kube {
  /** The namespace's name, while a test and its hooks run. */
  readonly name: string;
}

/**
 * Makes a namespace and a session in it before each test of the file or suite it is called in, and removes both after it. It
 * takes the rights to create and delete namespaces. The namespace is empty: the test brings what it needs.
 */
export declare function useNamespace(options?: Omit<SessionOptions, 'namespace'>): KubeNamespace;
