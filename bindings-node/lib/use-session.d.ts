import type { Exchange, ExchangeOptions, Forward, ForwardOptions, Session, SessionOptions } from './index.js';

/** A session for the tests of a file or suite; tests that run at the same time need one each. */
export interface Kube {
  /** There while tests and their hooks run. */
  readonly session: Session;
  /** `session.exchange`, undone at the end of the test; at the end of the suite when it was started before the tests. */
  exchange(target: string, options: ExchangeOptions): Promise<Exchange>;
  /** `session.forward`, undone likewise. */
  forward(destination: string, options?: ForwardOptions): Promise<Forward>;
}

/** Starts a session before the tests of the file or suite it is called in, and closes it after them. */
export declare function useSession(options?: SessionOptions): Kube;
