// What all conversations of the official TypeScript client share: counted checks, a client that
// records what it sends and which requests it receives, and the requests that a server of any
// revision answers.

import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';

import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client';

const PATIENCE = 120_000; // ms for a whole conversation
export const SOON = 30_000; // ms for something that happens behind the client's back

export const { values: options, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    mode: { type: 'string', default: 'auto' }, // the server's response mode: auto, sse or json
    era: { type: 'string', default: 'legacy' }, // legacy: the session revisions; modern: 2026-07-28
    stateless: { type: 'boolean', default: false }, // the server keeps no sessions
    behind: { type: 'string' }, // the stdio server behind the bridge: everything or python
    verbose: { type: 'boolean', default: false }, // print each check
  },
});

let checks = 0;

export function passed(what) {
  checks += 1;
  if (options.verbose) console.log(`  ok ${what}`);
}

export function check(what, holds, saw) {
  assert.ok(holds, `${what}; saw ${JSON.stringify(saw)}`);
  passed(what);
}

export function equal(what, saw, wanted) {
  assert.deepEqual(saw, wanted, `${what} should be ${JSON.stringify(wanted)}; saw ${JSON.stringify(saw)}`);
  passed(what);
}

/** Polls until the answer is the wanted one. */
export async function soon(what, ask, wanted) {
  const deadline = Date.now() + SOON;
  let saw;
  while ((saw = await ask()) !== wanted && Date.now() < deadline) await sleep(20);
  equal(what, saw, wanted);
}

/** The HTTP exchanges of the client. */
export class Wire {
  seen = [];

  fetch = async (url, init) => {
    const answer = await fetch(url, init);
    this.seen.push({ method: init?.method ?? 'GET', sent: new Headers(init?.headers), answer });
    return answer;
  };

  /** Returns the statuses of the exchanges with this method that did not resume a stream. */
  statuses(method) {
    const asked = (exchange) => exchange.method === method && !exchange.sent.has('last-event-id');
    return this.seen.filter(asked).map(({ answer }) => answer.status);
  }

  /** Returns the requests with this MCP method, which headers name since 2026-07-28. */
  asked(method) {
    return this.seen.filter(({ sent }) => sent.get('mcp-method') === method);
  }

  get session() {
    return this.seen.map(({ answer }) => answer.headers.get('mcp-session-id')).find(Boolean);
  }

  get resumed() {
    return this.seen.map(({ sent }) => sent.get('last-event-id')).filter(Boolean);
  }
}

/** The user's answers, by the field that a form asks for. */
const ANSWERS = {
  username: 'ada',
  email: 'ada@example.com',
  name: 'ada',
  ok: true,
  color: 'blue',
  context: 'trains',
};

const ABILITIES = { elicitation: {}, sampling: {}, roots: {} };

/** Returns a connected client, the requests and log messages it received, and its recorded exchanges. */
export async function connected(url, negotiation = 'legacy', capabilities = ABILITIES) {
  const wire = new Wire();
  const asked = [];
  const forms = [];
  const logged = [];
  const client = new Client(
    { name: 'interop', version: '1.0.0' },
    { capabilities, versionNegotiation: { mode: negotiation } },
  );
  if (capabilities.elicitation) {
    client.setRequestHandler('elicitation/create', ({ params }) => {
      const fields = Object.keys(params.requestedSchema.properties).sort();
      asked.push(params.message);
      forms.push(fields);
      const known = fields.filter((field) => field in ANSWERS);
      return { action: 'accept', content: Object.fromEntries(known.map((field) => [field, ANSWERS[field]])) };
    });
  }
  if (capabilities.sampling) {
    client.setRequestHandler('sampling/createMessage', ({ params }) => {
      asked.push([params.messages[0].content].flat()[0].text);
      return { role: 'assistant', content: { type: 'text', text: 'forty-two' }, model: 'test' };
    });
  }
  if (capabilities.roots) {
    client.setRequestHandler('roots/list', () => {
      asked.push('roots');
      return { roots: [{ uri: 'file:///home/ada/trains' }] };
    });
  }
  client.setNotificationHandler('notifications/message', ({ params }) => {
    logged.push([params.level, params.data]);
  });
  const transport = new StreamableHTTPClientTransport(new URL(url), { fetch: wire.fetch });
  await client.connect(transport);
  const call = (name, args = {}, how = undefined) => client.callTool({ name, arguments: args }, how);
  return { client, transport, wire, asked, forms, logged, call };
}

export const text = (result) => result.content[0].text;

/** Checks what every mode serves. */
export async function basics({ client, call }) {
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
  passed('an unknown tool is rejected');

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

export async function progress({ call }) {
  const seen = [];
  const onprogress = (each) => seen.push([each.progress, each.total]);
  await call('test_tool_with_progress', {}, { onprogress });
  equal('progress', seen, [[0, 100], [50, 100], [100, 100]]);
}

export async function cancelled({ call }) {
  const label = `typescript-${randomUUID()}`;
  const report = async () => text(await call('test_slow_report', { label }));
  const stop = new AbortController();
  const slow = call('test_slow', { ms: 30_000, label }, { signal: stop.signal });
  const rejected = assert.rejects(slow);
  await soon('a slow call', report, 'running');
  stop.abort('enough');
  await rejected;
  await soon('a slow call that the client cancelled', report, 'cancelled');
}

/** Holds a conversation with the server at the given URL, and prints the number of checks. */
export async function hold(conversation, patience = PATIENCE) {
  process.on('unhandledRejection', failed);
  setTimeout(() => failed(`not done after ${patience} ms`), patience).unref();
  await conversation(positionals[0]).catch(failed);
  console.log(`typescript: ${checks} checks`);
  process.exit(0); // even if the client keeps something open
}

function failed(why) {
  console.log(`typescript: FAILED after ${checks} checks: ${why?.message ?? why}`);
  if (why?.code !== 'ERR_ASSERTION') console.log(why);
  process.exit(1);
}
