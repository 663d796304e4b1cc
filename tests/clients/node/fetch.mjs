// Rejections that are sent before a large body was read, as Node's fetch receives them.

import { HUGE, equal, hold, post } from './common.mjs';

const KINDS = [
  [413, {}],
  [403, { origin: 'http://evil.example' }],
  [415, { 'content-type': 'text/plain' }],
];

await hold(async (url) => {
  const body = JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'ping', params: { huge: HUGE } });
  for (const [status, headers] of KINDS) {
    for (let round = 0; round < 10; round += 1) {
      const answer = await post(url, body, headers).catch((error) => ({ status: String(error.cause ?? error) }));
      equal('a rejection is readable', [answer.status, typeof (await answer.json()).error.message], [status, 'string']);
      const next = await post(url, '{', {}); // on the kept-alive connection, if there is one
      equal('the next request is answered', [next.status, (await next.json()).error.code], [400, -32700]);
    }
  }
});
