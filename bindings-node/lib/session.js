'use strict';

const { Events } = require('./events.js');
const { given, throwIfAborted } = require('./given.js');
const { Handle } = require('./handle.js');
const { toSchema } = require('./names.js');
const { call, events } = require('./native.js');
const { serve } = require('./serve.js');
const unclosed = require('./unclosed.js');

/** One developer's attachment to one cluster and namespace. */
class Session extends Handle {
  #told;

  /** Held until they are closed: what nobody else holds any more stays in force as long as its session. */
  #handles = new Set();
  /** Subscriptions, held weakly. */
  #events = new Set();

  constructor({ handle, info }) {
    super(handle, `the session in namespace ${info.namespace}`);
    this.#told = info;
    this._whenEnded(unclosed.closeAtEnd(this));
    this._whenEnded(() => this.#events.forEach((entry) => entry.deref()?._ending()));
    this._whenEnded(() => Promise.all([...this.#handles].map((handle) => handle._end())));
  }

  /** Its random name; its Lease is `kubetether-<id>`. */
  get id() {
    return this.#told.id;
  }

  get namespace() {
    return this.#told.namespace;
  }

  /** The kubeconfig's context; `undefined` inside a cluster. */
  get context() {
    return this.#told.context;
  }

  /** Exchanges a Service: all its traffic comes here from when this resolves. */
  async exchange(target, how) {
    const { to, signal, ...options } = given(how, 'exchange()');
    throwIfAborted(signal);
    const served = await serve(to, target);
    try {
      const asked = { ...toSchema(options), target, to: served.to };
      return this.#hold(new Exchange(this, await this._call('exchange', asked, { signal }), served));
    } catch (error) {
      await served.close();
      throw error;
    }
  }

  /** Opens a local port that leads to a place in the cluster. */
  async forward(destination, how = {}) {
    const { signal, ...options } = given(how, 'forward()');
    return this.#hold(new Forward(this, await this._call('forward', { ...toSchema(options), destination }, { signal })));
  }

  #hold(handle) {
    this.#handles.add(handle);
    handle._whenEnded(() => this.#handles.delete(handle));
    return handle;
  }

  /** Waits until nothing is in force that no handle stands for: until starts that were given up are undone. @protected */
  async _undone({ signal } = {}) {
    const undoing = new Set();
    for await (const event of this.events({ signal }).ref()) {
      if (event.type === 'snapshot') {
        const known = new Set([...this.#handles].map(({ id }) => id));
        for (const { handle } of event.handles) if (!known.has(handle)) undoing.add(handle);
      }
      if (event.type === 'handle' && (event.state === 'closed' || event.state === 'lost')) undoing.delete(event.handle);
      if (undoing.size === 0) return;
    }
  }

  /** The connections that go through its handles: those that are open, and those that ended since the answer with `next`. */
  flows(after = 0) {
    if (!Number.isSafeInteger(after) || after < 0) {
      throw new TypeError(`flows(): ${String(after)} is not the \`next\` of an earlier answer`);
    }
    return this._ask('flows', after);
  }

  /** What the cluster says of kubetether's pods in the namespace: conditions, events, last log lines. */
  evidence({ signal } = {}) {
    return this._call('evidence', {}, { signal });
  }

  /** What happens from now on, a snapshot first. */
  events({ signal } = {}) {
    const subscription = new Events(this._with(events), signal);
    for (const entry of this.#events) if (entry.deref() === undefined) this.#events.delete(entry);
    this.#events.add(new WeakRef(subscription));
    return subscription;
  }
}

/** What is in force in a session. */
class InSession extends Handle {
  #id;

  constructor(session, { handle, info }, what, also) {
    super(handle, what, also);
    this.session = session;
    this.#id = info.handle;
  }

  /** Tells the handles of a session apart; events carry it. */
  get id() {
    return this.#id;
  }

  /** What has gone through it so far. */
  get stats() {
    return this._ask('stats');
  }
}

/** All traffic of a Service comes here. */
class Exchange extends InSession {
  #told;

  constructor(session, given, served) {
    super(session, given, `the exchange of ${given.info.service}`, served.close);
    this._whenEnded(served.close);
    this.#told = given.info;
  }

  get service() {
    return this.#told.service;
  }

  /** The ports that come here: `{ servicePort, local }`. */
  get ports() {
    return this.#told.ports;
  }

  /** The Service's other ports, which go on to the original pods. */
  get passedThrough() {
    return this.#told.passedThrough;
  }

  /** How the cluster would come through the death of this process or of the interceptor, as things are now. */
  get safety() {
    return this._ask('safety');
  }
}

/** A local port that leads to a place in the cluster. */
class Forward extends InSession {
  #told;

  constructor(session, given) {
    super(session, given, `the forward to ${given.info.destination}`);
    this.#told = given.info;
  }

  get destination() {
    return this.#told.destination;
  }

  /** The local `host:port`. */
  get address() {
    return this.#told.address;
  }

  get host() {
    return this.#told.host;
  }

  get port() {
    return this.#told.port;
  }

  /** Where it leads, for a client of such a protocol. */
  url(path = '', scheme = 'http') {
    return `${scheme}://${this.address}${path}`;
  }
}

/** Starts a session. */
async function connect(how = {}) {
  const { signal, ...options } = given(how, 'connect()');
  return new Session(await call('connect', 0, {}, { session: toSchema(options), signal }));
}

/** Who is there and what they hold. */
function status({ signal, ...options } = {}) {
  return care('status', options, signal);
}

/** Takes away what dead sessions left; their Services are put back before. */
function clean({ signal, ...options } = {}) {
  return care('clean', options, signal);
}

/** Puts one Service back, whoever holds it. */
function recover(service, { signal, ...options } = {}) {
  return care('recover', { ...options, service }, signal);
}

/** How the cluster is reached stands beside what is asked of it. */
const REACH = ['kubeconfig', 'context', 'namespace'];

async function care(method, options, signal) {
  const session = Object.fromEntries(REACH.map((name) => [name, options[name]]));
  const rest = Object.fromEntries(Object.entries(options).filter(([name]) => !REACH.includes(name)));
  return call(method, 0, toSchema(rest), { session: toSchema(session), signal });
}

module.exports = { Exchange, Forward, Session, clean, connect, recover, status };
