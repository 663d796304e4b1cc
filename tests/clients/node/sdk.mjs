// A conversation of a released version of the official TypeScript SDK, directly or through
// mcp-remote.

import assert from 'node:assert/strict';
import { mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { fileURLToPath } from 'node:url';

import { AWKWARD, HUGE, check, equal, gone, hold, options, served } from './common.mjs';

const REMOTE = options.package === 'mcp-remote'; // a proxy from stdio to HTTP, which a client starts
const SDK = REMOTE ? 'sdk-1.32' : options.package;
const { Client } = await import(`${SDK}/client/index.js`);
const { StreamableHTTPClientTransport } = await import(`${SDK}/client/streamableHttp.js`);
const { StdioClientTransport } = await import(`${SDK}/client/stdio.js`);
const { ElicitRequestSchema } = await import(`${SDK}/types.js`);

async function transportTo(url) {
  if (!REMOTE) return new StreamableHTTPClientTransport(new URL(url));
  const proxy = fileURLToPath(new URL('node_modules/mcp-remote/dist/proxy.js', import.meta.url));
  const settings = await mkdtemp(`${tmpdir()}/mcp-remote-`);
  return new StdioClientTransport({
    command: process.execPath,
    args: [proxy, url, '--transport', 'http-only', '--allow-http'],
    env: { ...process.env, MCP_REMOTE_CONFIG_DIR: settings },
    stderr: options.verbose ? 'inherit' : 'ignore',
  });
}

async function connected(url) {
  const client = new Client({ name: 'clients', version: '1.0.0' }, { capabilities: { elicitation: {} } });
  client.setRequestHandler(ElicitRequestSchema, () => ({
    action: 'accept',
    content: { username: 'ada', email: 'ada@example.com' },
  }));
  const transport = await transportTo(url);
  await client.connect(transport);
  const call = (name, args = {}, how = undefined) => client.callTool({ name, arguments: args }, undefined, how);
  return { client, transport, call };
}

const text = (result) => result.content[0].text;

async function tools({ client, call }, url) {
  const listed = [];
  let cursor;
  do {
    const page = await client.listTools(cursor ? { cursor } : {});
    listed.push(...page.tools.map(({ name }) => name));
    cursor = page.nextCursor;
  } while (cursor);
  equal('every tool is listed', listed.sort(), await served(url));
  check('one of them takes any value', listed.includes('test_any_value'), listed);
  for (const value of [7, 'text', null, [1, { a: [] }], { deep: { er: [true] } }]) {
    equal('a value of any shape', JSON.parse(text(await call('test_any_value', { value }))), value);
  }
  equal('awkward text', text(await call('echo', { message: AWKWARD })), AWKWARD);
}

/** mcp-remote may forward an answer before earlier messages, which its client then drops. The others are in order. */
function arrived(what, seen, all) {
  const texts = seen.map((each) => JSON.stringify(each));
  const wanted = REMOTE ? all.filter((each) => texts.includes(JSON.stringify(each))) : all;
  equal(what, seen, wanted);
}

async function streams({ call }) {
  const seen = [];
  const onprogress = ({ message }) => seen.push(JSON.parse(message));
  equal('awkward text at the end of a stream', JSON.parse(text(await call('test_any_value', { value: AWKWARD }, { onprogress }))), AWKWARD);
  if (!REMOTE) equal('awkward text in a stream', seen, [AWKWARD]);
  const steps = [];
  await call('test_tool_with_progress', {}, { onprogress: ({ progress, total }) => steps.push([progress, total]) });
  arrived('progress', steps, [[0, 100], [50, 100], [100, 100]]);
  const answer = text(await call('test_elicitation', { message: 'Who are you?' }));
  check('elicitation', answer.includes('ada@example.com'), answer);
  check('a stream that the server closes', Boolean(text(await call('test_reconnection'))));
}

async function resources({ client }) {
  const listed = (await client.listResources()).resources.find(({ name }) => name === 'awkward-uri');
  const read = async (uri) => (await client.readResource({ uri })).contents[0].text;
  equal('a resource as it is listed', await read(listed.uri), 'Its name is not ASCII.');
  equal('a resource as a URL is written', await read(new URL(listed.uri).href), 'Its name is not ASCII.');
  equal('a template', JSON.parse(await read('test://template/größe/data')).id, 'größe');
}

/** The relay cuts the connection of a call with seven steps inside the third one. */
async function resumed() {
  const { client, call } = await connected(options.cut);
  const seen = [];
  const result = await call('progress', { steps: 7, delay_ms: 50 }, { onprogress: ({ progress }) => seen.push(progress) });
  arrived('a call whose connection broke: progress without gap or duplicate', seen, [1, 2, 3, 4, 5, 6, 7]);
  equal('a call whose connection broke: its answer', text(result), '7 steps done');
  await client.close();
}

async function rejected({ call }) {
  for (let round = 0; round < 5; round += 1) {
    await assert.rejects(call('echo', { message: HUGE }), (error) => {
      check('a body that is too large is rejected readably', /413|Body too large/.test(error.message), error.message.slice(0, 300));
      return true;
    });
  }
  equal('the client goes on', text(await call('echo', { message: 'on' })), 'on');
}

await hold(async (url) => {
  const peer = await connected(url);
  equal('the server says its name', peer.client.getServerVersion().name, 'everything');
  await tools(peer, url);
  await streams(peer);
  await resources(peer);
  await resumed();
  if (!REMOTE) await rejected(peer);
  const session = peer.transport.sessionId;
  if (!REMOTE) await peer.transport.terminateSession();
  await peer.client.close();
  if (!REMOTE) await gone(url, session);
});
