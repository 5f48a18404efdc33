// Its suite: the code on this machine is svc/orders of the cluster, asked through the cluster.
//
//   kubectl apply -f example/shop.yaml && npx vitest run --root example

import { useSession } from 'kubetether/vitest';
import { beforeAll, beforeEach, expect, test } from 'vitest';

import { createApp } from './orders.mjs';

const kube = useSession({ namespace: process.env.SHOP_NAMESPACE });

// What only the cluster reaches, for as long as this file's tests run.
let stock;
beforeAll(async () => {
  stock = await kube.forward('stock:8080');
});

// Undone at the end of each test, whatever becomes of it.
let orders;
beforeEach(async () => {
  await kube.exchange('orders', { to: createApp({ stock: stock.url() }) });
  orders = await kube.forward('orders:8080');
});

const order = (body) =>
  fetch(orders.url('/orders'), { method: 'POST', body: JSON.stringify(body), headers: { 'content-type': 'application/json' } });

test('an order is kept, with what the stock of the cluster says', async () => {
  const response = await order({ item: 'tea pot' });
  expect(response.status).toBe(201);
  const made = await response.json();
  expect(made).toMatchObject({ id: 1, item: 'tea pot' });
  expect(made.stock).toContain('name=deployed-stock');
  expect(made.stock).toContain('path=/items/tea%20pot');
  expect(await (await fetch(orders.url('/orders/1'))).json()).toEqual(made);
});

test('each test has orders of its own', async () => {
  expect((await fetch(orders.url('/orders/1'))).status).toBe(404);
  expect((await order({})).status).toBe(400);
});
