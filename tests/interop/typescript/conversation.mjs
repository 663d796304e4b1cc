// A whole conversation between the official TypeScript client and a running server.
//
// The client resumes a cut call by itself, with Last-Event-ID. A fetch wrapper watches what it keeps to itself
// (status codes, the session id); a small proxy cuts the connections.

import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import net from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';

import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client';

const PATIENCE = 60_000; // ms for the whole conversation
const SOON = 5_000; // ms for something that happens behind the client's back

const { values: options, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    mode: { type: 'string', default: 'auto' }, // the server's response mode: auto, sse or json
    stateless: { type: 'boolean', default: false }, // the server keeps no sessions
    verbose: { type: 'boolean', default: false }, // print each check
  },
});

let checks = 0;

function passed(what) {
  checks += 1;
  if (options.verbose) console.log(`  ok ${what}`);
}

function check(what, holds, saw) {
  assert.ok(holds, `${what}; saw ${JSON.stringify(saw)}`);
  passed(what);
}

function equal(what, saw, wanted) {
  assert.deepEqual(saw, wanted, `${what} should be ${JSON.stringify(wanted)}; saw ${JSON.stringify(saw)}`);
  passed(what);
}

/** Asks until the answer is the wanted one. */
async function soon(what, ask, wanted) {
  const deadline = Date.now() + SOON;
  let saw;
  while ((saw = await ask()) !== wanted && Date.now() < deadline) await sleep(20);
  equal(what, saw, wanted);
}

/** What the client sent and got over HTTP. */
class Wire {
  seen = [];

  fetch = async (url, init) => {
    const answer = await fetch(url, init);
    this.seen.push({ method: init?.method ?? 'GET', sent: new Headers(init?.headers), answer });
    return answer;
  };

  /** Of the exchanges with this method that did not resume a stream. */
  statuses(method) {
    const asked = (exchange) => exchange.method === method && !exchange.sent.has('last-event-id');
    return this.seen.filter(asked).map(({ answer }) => answer.status);
  }

  get session() {
    return this.seen.map(({ answer }) => answer.headers.get('mcp-session-id')).find(Boolean);
  }

  get resumed() {
    return this.seen.map(({ sent }) => sent.get('last-event-id')).filter(Boolean);
  }
}

/** Relays TCP to the server and, once armed, cuts the connection on which the n-th progress event passes. */
class CuttingProxy {
  cuts = 0;
  #armed;
  #server;
  #sockets = new Set();

  /** Cut once: after the `at`-th progress event, or inside it, so that the client gets half an event. */
  arm(at, inside) {
    this.#armed = { at, inside };
  }

  async start(url) {
    const { hostname, port } = new URL(url);
    this.#server = net.createServer((client) => this.#relay(client, net.connect(Number(port), hostname)));
    await new Promise((ready) => this.#server.listen(0, '127.0.0.1', ready));
    const through = new URL(url);
    through.port = String(this.#server.address().port);
    return through;
  }

  stop() {
    for (const socket of this.#sockets) socket.destroy();
    this.#server.close();
  }

  #relay(client, server) {
    const end = () => {
      client.destroy();
      server.destroy();
    };
    for (const socket of [client, server]) {
      this.#sockets.add(socket);
      socket.setNoDelay();
      socket.on('error', end).on('close', end);
    }
    let all = ''; // of the answer to the last request
    client.on('data', (data) => {
      all = '';
      server.write(data);
    });
    server.on('data', (data) => {
      const before = all.length;
      all += data.toString('latin1'); // one character for each byte
      const cut = this.#cut(all);
      if (cut === undefined) return client.write(data);
      this.#armed = undefined;
      this.cuts += 1;
      client.write(data.subarray(0, Math.max(0, cut - before)), end);
    });
  }

  /** Where to cut what the server has sent on one connection, if here. */
  #cut(all) {
    if (!this.#armed) return undefined;
    const mark = [...all.matchAll(/notifications\/progress/g)][this.#armed.at - 1];
    if (!mark) return undefined;
    if (this.#armed.inside) return mark.index + mark[0].length;
    const end = /\r?\n\r?\n/.exec(all.slice(mark.index));
    return end ? mark.index + end.index + end[0].length : undefined;
  }
}

/** A connected client, what was asked of and logged to it, and the wire under it. */
async function connected(url, negotiation = 'legacy') {
  const wire = new Wire();
  const asked = [];
  const logged = [];
  const client = new Client(
    { name: 'interop', version: '1.0.0' },
    { capabilities: { elicitation: {}, sampling: {} }, versionNegotiation: { mode: negotiation } },
  );
  client.setRequestHandler('elicitation/create', ({ params }) => {
    asked.push(params.message);
    equal('elicitation asks for', Object.keys(params.requestedSchema.properties).sort(), ['email', 'username']);
    return { action: 'accept', content: { username: 'ada', email: 'ada@example.com' } };
  });
  client.setRequestHandler('sampling/createMessage', ({ params }) => {
    asked.push([params.messages[0].content].flat()[0].text);
    return { role: 'assistant', content: { type: 'text', text: 'forty-two' }, model: 'test' };
  });
  client.setNotificationHandler('notifications/message', ({ params }) => {
    logged.push([params.level, params.data]);
  });
  const transport = new StreamableHTTPClientTransport(new URL(url), { fetch: wire.fetch });
  await client.connect(transport);
  const call = (name, args = {}, how = undefined) => client.callTool({ name, arguments: args }, how);
  return { client, transport, wire, asked, logged, call };
}

const text = (result) => result.content[0].text;

/** What every mode serves. */
async function basics({ client, call }) {
  check('the server says its name', Boolean(client.getServerVersion().name), client.getServerVersion());

  const echo = (await client.listTools()).tools.find((tool) => tool.name === 'echo');
  check('echo is listed with its schema', Boolean(echo?.inputSchema.properties.message), echo);
  equal('echo', text(await call('echo', { message: 'grüße \u2028 🦀' })), 'grüße \u2028 🦀');

  const words = Array.from({ length: 16 }, (_, n) => `number ${n}`);
  const answers = await Promise.all(words.map(async (message) => text(await call('echo', { message }))));
  equal('16 calls at once, each with its own answer', answers, words);

  const mixed = await call('test_multiple_content_types');
  equal('mixed content', mixed.content.map((item) => item.type), ['text', 'image', 'resource']);
  check('a failing tool is a result with isError', (await call('test_error_handling')).isError === true);
  await assert.rejects(call('no_such_tool'), { code: -32602 });
  passed('an unknown tool is refused');

  const uris = (await client.listResources()).resources.map((resource) => resource.uri);
  check('resources are listed', uris.includes('test://static-text') && uris.includes('test://static-binary'), uris);
  const [plain] = (await client.readResource({ uri: 'test://static-text' })).contents;
  equal('a text resource', plain.text, 'This is the content of the static text resource.');
  const [binary] = (await client.readResource({ uri: 'test://static-binary' })).contents;
  check('a binary resource', binary.mimeType === 'image/png' && binary.blob.length > 0, binary);
  const templates = (await client.listResourceTemplates()).resourceTemplates.map((each) => each.uriTemplate);
  check('templates are listed', templates.includes('test://template/{id}/data'), templates);
  const [filled] = (await client.readResource({ uri: 'test://template/7/data' })).contents;
  equal('a resource from a template', JSON.parse(filled.text).id, '7');

  const name = 'test_prompt_with_arguments';
  const prompts = (await client.listPrompts()).prompts.map((each) => each.name);
  check('prompts are listed', prompts.includes(name), prompts);
  const prompt = await client.getPrompt({ name, arguments: { arg1: 'one', arg2: 'two' } });
  equal('a prompt', prompt.messages[0].content.text, "Prompt with arguments: arg1='one', arg2='two'");

  const asked = { ref: { type: 'ref/prompt', name }, argument: { name: 'arg1', value: 'test' } };
  check('completion', Array.isArray((await client.complete(asked)).completion.values));
}

async function progress({ call }) {
  const seen = [];
  const onprogress = (each) => seen.push([each.progress, each.total]);
  await call('test_tool_with_progress', {}, { onprogress });
  equal('progress', seen, [[0, 100], [50, 100], [100, 100]]);
}

async function logging({ client, call, logged }) {
  const lines = ['Tool execution started', 'Tool processing data', 'Tool execution completed'];
  await client.setLoggingLevel('debug');
  await call('test_tool_with_logging');
  equal('log messages', logged, lines.map((line) => ['info', line]));
  await client.setLoggingLevel('error');
  await call('test_tool_with_logging');
  equal('no log messages below the level', logged.length, lines.length);
}

async function questions({ call, asked }) {
  const answer = text(await call('test_elicitation', { message: 'Who are you?' }));
  check('elicitation', answer.includes('ada@example.com'), answer);
  equal('sampling', text(await call('test_sampling', { prompt: 'Six times seven?' })), 'LLM response: forty-two');
  equal('each question came once', asked, ['Who are you?', 'Six times seven?']);
}

/** The connection of a call dies; the client comes back with Last-Event-ID and misses nothing. */
async function cutAndResumed({ call, wire }, proxy, { steps, at, inside }) {
  const what = `cut ${inside ? 'inside' : 'after'} event ${at}`;
  const [cuts, resumed, seen] = [proxy.cuts, wire.resumed.length, []];
  const onprogress = (each) => seen.push(each.progress);
  proxy.arm(at, inside);
  const result = await call('progress', { steps, delay_ms: 50 }, { onprogress });
  equal(`${what}: cuts`, proxy.cuts - cuts, 1);
  check(`${what}: the client resumed`, wire.resumed.length > resumed, wire.resumed);
  equal(`${what}: progress without gap or duplicate`, seen, Array.from({ length: steps }, (_, n) => n + 1));
  check(`${what}: the answer arrived`, !result.isError && Boolean(text(result)), result);
}

async function closedByServer({ call, wire }) {
  const resumed = wire.resumed.length;
  const result = await call('test_reconnection');
  check('a stream that the server closes: the client resumed', wire.resumed.length > resumed, wire.resumed);
  check('a stream that the server closes: the answer arrived', !result.isError && Boolean(text(result)), result);
}

async function cancelled({ call }) {
  const label = `typescript-${randomUUID()}`;
  const report = async () => text(await call('test_slow_report', { label }));
  const stop = new AbortController();
  const slow = call('test_slow', { ms: 30_000, label }, { signal: stop.signal });
  const refused = assert.rejects(slow);
  await soon('a slow call', report, 'running');
  stop.abort('enough');
  await refused;
  await soon('a slow call that the client cancelled', report, 'cancelled');
}

/** Raw: after the end, the session is not known any more. */
async function gone(url, session) {
  const headers = {
    accept: 'application/json, text/event-stream',
    'content-type': 'application/json',
    'mcp-protocol-version': '2025-11-25',
    'mcp-session-id': session,
  };
  const body = JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'ping' });
  equal('POST on the ended session', (await fetch(url, { method: 'POST', headers, body })).status, 404);
  const get = { ...headers, accept: 'text/event-stream' };
  equal('GET on the ended session', (await fetch(url, { headers: get })).status, 404);
}

async function conversation(url) {
  const streams = options.mode !== 'json';
  const proxy = new CuttingProxy();
  const peer = await connected(await proxy.start(url));
  await basics(peer);
  if (streams) await progress(peer);
  if (!options.stateless) {
    await peer.client.ping();
    await cancelled(peer);
  }
  if (streams && !options.stateless) {
    await logging(peer);
    await questions(peer);
    await cutAndResumed(peer, proxy, { steps: 8, at: 1, inside: false });
    await cutAndResumed(peer, proxy, { steps: 8, at: 3, inside: true });
    await closedByServer(peer);
    equal('the standalone stream opened once', peer.wire.statuses('GET'), [200]);
  }
  await peer.transport.terminateSession();
  await peer.client.close();
  proxy.stop();
  if (options.stateless) {
    equal('no session was issued', peer.wire.session, undefined);
  } else {
    check('the session ended by DELETE', [200, 204].includes(peer.wire.statuses('DELETE')[0]), peer.wire.statuses('DELETE'));
    await gone(url, peer.wire.session);
  }

  const second = await connected(url, 'auto');
  const answer = text(await second.call('echo', { message: 'again' }));
  equal('a client that looks for the newest revision first', answer, 'again');
  await second.transport.terminateSession();
  await second.client.close();
}

function failed(why) {
  console.log(`typescript: FAILED after ${checks} checks: ${why?.message ?? why}`);
  if (why?.code !== 'ERR_ASSERTION') console.log(why);
  process.exit(1);
}

process.on('unhandledRejection', failed);
setTimeout(() => failed(`not done after ${PATIENCE} ms`), PATIENCE).unref();
await conversation(positionals[0]).catch(failed);
console.log(`typescript: ${checks} checks`);
process.exit(0); // whatever the client keeps open
