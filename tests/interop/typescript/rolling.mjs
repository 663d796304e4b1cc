// The official TypeScript client calls all the time, until its input ends, while nodes are drained
// and restarted.
//
// Every call is answered, and its progress arrives without a gap, each step once. The test repeats
// nothing: it relies on what the client itself does when a stream breaks.

import { check, connected, equal, hold, options, text } from './common.mjs';

const PATIENCE = 1_800_000; // ms; the end of the input decides when it ends

let over = false;
let calls = 0;
let messages = 0;
process.stdin.on('end', () => (over = true)).resume();

/** Makes a long call that reports its progress. */
async function progress({ call }, steps) {
  const seen = [];
  const result = await call('progress', { steps, delay_ms: 100 }, { onprogress: (each) => seen.push(each.progress) });
  equal('progress', seen, Array.from({ length: steps }, (_, n) => n + 1));
  equal('the answer', text(result), `${steps} steps done`);
  messages += seen.length;
}

const short = (peer) => progress(peer, 20);

/** Makes a call that lasts longer than a node keeps connections open, but ends before the node does. */
const long = (peer) => progress(peer, 190);

/** Makes a call that sends a request to the client, whose answer may reach another node. */
async function clientRequest({ call, asked }) {
  const before = asked.length;
  const answer = text(await call('test_elicitation', { message: 'Who are you?' }));
  check('elicitation', answer.includes('ada@example.com'), answer);
  equal('it was asked once', asked.length, before + 1);
}

/** Makes a call that is answered at once. */
async function echo({ call }) {
  const message = `number ${calls}`;
  equal('echo', text(await call('echo', { message })), message);
}

async function work(peer, what) {
  while (!over) {
    await what(peer);
    calls += 1;
    await new Promise((next) => setTimeout(next, 50));
  }
}

await hold(async (url) => {
  const modern = options.era === 'modern';
  const peer = await connected(url, modern ? 'auto' : 'legacy');
  equal('the revision', peer.client.getNegotiatedProtocolVersion(), modern ? '2026-07-28' : '2025-11-25');
  // With this many workers, some calls run at every node when it drains.
  const workers = [echo, clientRequest, ...Array(8).fill(short), ...Array(16).fill(long)];
  await Promise.all(workers.map((what) => work(peer, what)));
  const rejected = peer.wire.seen.filter(({ answer }) => answer.status >= 400);
  equal('rejections', rejected.map(({ answer }) => answer.status), []);
  console.log(`typescript: ${calls} calls, ${messages} messages, ${peer.wire.resumed.length} resumed`);
}, PATIENCE);
