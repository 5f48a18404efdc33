// Checked by tsc alone, never run: what must compile, and what must not.

import { createServer } from 'node:http';

import express from 'express';
import {
  type ErrorCode,
  type Event,
  Exchange,
  Forward,
  Handle,
  KubetetherError,
  Session,
  type State,
  type To,
  clean,
  connect,
  onLog,
  recover,
  status,
  version,
} from 'kubetether';
import { useNamespace, useSession } from 'kubetether/node-test';
import { type Kube, useSession as useSessionOfVitest } from 'kubetether/vitest';

type Equal<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false;
const same = <A, B>(_: Equal<A, B>): void => {};

const signal = AbortSignal.timeout(1000);
same<typeof version, string>(true);

// The design's own lines.
await using session = await connect({ namespace: 'shop', signal });
await using exchange = await session.exchange('orders', { to: 8080 });
for await (const event of session.events()) console.log(event.type);

same<typeof session, Session>(true);
same<typeof exchange, Exchange>(true);
same<typeof exchange.state, State>(true);
const handle: Handle = exchange;
handle.ref().unref();

// Everything that can be exchanged to.
const targets: To[] = [
  8080,
  'localhost:8080',
  '/run/app.sock',
  { port: 8080 },
  { host: '::1', port: 8080 },
  createServer(),
  express(),
  () => new Response(),
  { fetch: () => new Response() },
  { listener: (_request, response) => response.end() },
  { ports: { http: 8080, 9090: () => new Response() } },
];
for (const to of targets) await session.exchange('orders', { to, deadline: 10, wait: 60, signal });
// Functions know what they are given.
await session.exchange('orders', { to: (request, response) => response.end(request.rawHeaders.length) });
await session.exchange('orders', { to: { fetch: async (request) => new Response(await request.text()) } });
await session.exchange('orders', { to: { listener: (request, response) => response.end(request.url) } });
await session.exchange('orders', { to: async (request: Request) => new Response(await request.text()) });
await session.exchange('orders', { to: { ports: { http: { fetch: (request) => new Response(request.body) }, 9090: 9090 } } });
// @ts-expect-error: there is no default for where it goes
await session.exchange('orders', {});
// @ts-expect-error: a port is a number
await session.exchange('orders', { to: { port: '8080' } });
// @ts-expect-error: an unknown setting
await session.exchange('orders', { to: 8080, dedline: 10 });
// @ts-expect-error: handlers answer
await session.exchange('orders', { to: (_request: Request) => 7 });
// @ts-expect-error: sessions come from connect()
new Session();

const forward: Forward = await session.forward('db:5432', { bind: '::1', port: 0, connections: 10, signal });
same<typeof forward.port, number>(true);
same<Awaited<ReturnType<typeof forward.closed>>, State>(true);
same<Awaited<ReturnType<typeof session.closed>>, string>(true);

// Events tell their fields by their type.
const field = (event: Event): string | number | undefined => {
  switch (event.type) {
    case 'snapshot':
      return event.handles[0]?.target;
    case 'progress':
      return `${event.step}/${event.of} ${event.what}`;
    case 'handle':
      return event.reason;
    case 'closed':
      return event.reason;
    // @ts-expect-error: there is no such event
    case 'nothing':
      return undefined;
    default:
      return event.type;
  }
};
await using events = session.events({ signal });
const next = await events.next();
if (!next.done) field(next.value);
same<typeof events.dropped, number>(true);

try {
  await clean({ dryRun: true, allNamespaces: true, signal });
} catch (error) {
  if (error instanceof KubetetherError) {
    same<typeof error.code, ErrorCode>(true);
    same<typeof error.evidence, readonly string[]>(true);
    same<typeof error.hint, string | undefined>(true);
    // @ts-expect-error: no such code
    if (error.code === 'no_such_code') throw error;
    // @ts-expect-error: it is told, not changed
    error.code = 'held';
  }
}
same<Awaited<ReturnType<typeof recover>>['heldBy'], readonly string[]>(true);
for (const service of (await status({ patience: 1 })).services) same<typeof service.who, string | null>(true);

const kube: Kube = useSession({ namespace: 'shop', startDeadline: 10 });
same<Awaited<ReturnType<typeof kube.exchange>>, Exchange>(true);
useSessionOfVitest();
same<typeof kube.session, Session>(true);
const fresh = useNamespace({ context: 'test' });
same<typeof fresh.name, string>(true);
same<typeof fresh.session, Session>(true);
// @ts-expect-error: it is a new one
useNamespace({ namespace: 'shop' });

const quiet: () => void = onLog(({ level, target, message }) => console.log(level, target, message), { level: 'debug' });
quiet();
// @ts-expect-error: no such level
onLog(() => {}, { level: 'loud' });
