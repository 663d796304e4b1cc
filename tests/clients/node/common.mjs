// What all conversations of released TypeScript clients share: counted checks, and raw requests for
// what the server serves.

import assert from 'node:assert/strict';
import { parseArgs } from 'node:util';

const PATIENCE = 60_000; // ms for a whole conversation

export const { values: options, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    package: { type: 'string' }, // the client's folder in node_modules
    name: { type: 'string' }, // the name of the conversation, for its last line
    cut: { type: 'string' }, // the URL of the relay that cuts one call's connection
    verbose: { type: 'boolean', default: false }, // print each check
  },
});

/** Text with characters that some readers take for line ends, and with non-ASCII characters. */
export const AWKWARD = 'a\u2028b\u2029c\u0085d grüße 世界 🦀';
export const HUGE = 'x'.repeat(6 << 20); // bytes; the server takes 4 MiB

let checks = 0;

export function check(what, holds, saw) {
  assert.ok(holds, `${what}; saw ${JSON.stringify(saw)}`);
  checks += 1;
  if (options.verbose) console.log(`  ok ${what}`);
}

export function equal(what, saw, wanted) {
  assert.deepEqual(saw, wanted, `${what} should be ${JSON.stringify(wanted)}; saw ${JSON.stringify(saw)}`);
  check(what, true);
}

const HEADERS = { accept: 'application/json, text/event-stream', 'content-type': 'application/json' };

/** Posts a body with Node's fetch, without a client. */
export const post = (url, body, headers = {}) =>
  fetch(url, { method: 'POST', headers: { ...HEADERS, ...headers }, body });

/** Returns the message that answers a raw request. */
async function ask(url, message, headers) {
  const answer = await post(url, JSON.stringify({ jsonrpc: '2.0', id: 1, ...message }), headers);
  const text = await answer.text();
  const events = text.split('\n').filter((line) => line.startsWith('data: {'));
  return [answer, JSON.parse(events.at(-1)?.slice(6) ?? text)];
}

/** Returns the names of the served tools, requested without a client. */
export async function served(url) {
  const params = { protocolVersion: '2025-11-25', capabilities: {}, clientInfo: { name: 'raw', version: '1' } };
  const [opened] = await ask(url, { method: 'initialize', params });
  const session = { 'mcp-session-id': opened.headers.get('mcp-session-id'), 'mcp-protocol-version': '2025-11-25' };
  const names = [];
  let cursor;
  do {
    const [, answer] = await ask(url, { method: 'tools/list', params: cursor ? { cursor } : {} }, session);
    names.push(...answer.result.tools.map(({ name }) => name));
    cursor = answer.result.nextCursor;
  } while (cursor);
  return names.sort();
}

/** Checks that a session has ended. */
export async function gone(url, session) {
  const body = JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'ping' });
  const answer = await post(url, body, { 'mcp-session-id': session, 'mcp-protocol-version': '2025-11-25' });
  equal('the session has ended', answer.status, 404);
  await answer.text();
}

/** Holds a conversation with the server at the given URL, and prints the number of checks. */
export async function hold(conversation) {
  process.on('unhandledRejection', failed);
  setTimeout(() => failed(`not done after ${PATIENCE} ms`), PATIENCE).unref();
  await conversation(positionals[0]).catch(failed);
  console.log(`${options.name}: ${checks} checks`);
  process.exit(0); // even if the client keeps something open
}

function failed(why) {
  console.log(`${options.name}: FAILED after ${checks} checks: ${why?.message ?? why}`);
  if (why?.code !== 'ERR_ASSERTION') console.log(why);
  process.exit(1);
}
