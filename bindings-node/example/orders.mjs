// A small service: an order is what the stock says of it.

import express from 'express';

export function createApp({ stock }) {
  const app = express();
  app.use(express.json());
  const orders = new Map();

  app.post('/orders', async (request, response) => {
    const { item } = request.body;
    if (typeof item !== 'string') {
      response.status(400).json({ error: 'which item?' });
      return;
    }
    const answer = await fetch(new URL(`/items/${encodeURIComponent(item)}`, stock));
    const order = { id: orders.size + 1, item, stock: (await answer.text()).trim() };
    orders.set(order.id, order);
    response.status(201).json(order);
  });

  app.get('/orders/:id', (request, response) => {
    const order = orders.get(Number(request.params.id));
    if (order === undefined) response.status(404).json({ error: 'no such order' });
    else response.json(order);
  });

  return app;
}
