// A conversation of a released version of the AI SDK's MCP client.

import assert from 'node:assert/strict';

import { AWKWARD, HUGE, check, equal, gone, hold, options, served } from './common.mjs';

const { createMCPClient, ElicitationRequestSchema } = await import(options.package);

const text = (result) => result.content[0].text;

await hold(async (url) => {
  let session;
  // Only the requests of the client name its session.
  const watched = async (to, init) => {
    session = new Headers(init?.headers).get('mcp-session-id') ?? session;
    return fetch(to, init);
  };
  const client = await createMCPClient({
    transport: { type: 'http', url, fetch: watched },
    capabilities: { elicitation: {} },
    onUncaughtError: () => {}, // it supports no notifications, and reports each of them
  });
  client.onElicitationRequest(ElicitationRequestSchema, () => ({
    action: 'accept',
    content: { username: 'ada', email: 'ada@example.com' },
  }));

  const definitions = [];
  let cursor;
  do {
    const page = await client.listTools({ params: cursor ? { cursor } : {} });
    definitions.push(...page.tools);
    cursor = page.nextCursor;
  } while (cursor);
  const listed = definitions.map(({ name }) => name).sort();
  equal('every tool is listed', listed, await served(url));
  const tools = await client.toolsFromDefinitions({ tools: definitions });
  equal('every tool can be called', Object.keys(tools).sort(), listed);
  const call = (name, args = {}) => tools[name].execute(args, { messages: [], toolCallId: '1' });
  for (const value of [7, 'text', null, [1, { a: [] }], { deep: { er: [true] } }]) {
    equal('a value of any shape', JSON.parse(text(await call('test_any_value', { value }))), value);
  }
  equal('awkward text', text(await call('echo', { message: AWKWARD })), AWKWARD);
  check('a call that streams', Boolean(text(await call('test_tool_with_logging'))));
  const answer = text(await call('test_elicitation', { message: 'Who are you?' }));
  check('elicitation', answer.includes('ada@example.com'), answer);

  const resource = (await client.listResources()).resources.find(({ name }) => name === 'awkward-uri');
  const read = async (uri) => (await client.readResource({ uri })).contents[0].text;
  equal('a resource as it is listed', await read(resource.uri), 'Its name is not ASCII.');
  equal('a resource as a URL is written', await read(new URL(resource.uri).href), 'Its name is not ASCII.');

  for (let round = 0; round < 5; round += 1) {
    await assert.rejects(call('echo', { message: HUGE }), (error) => {
      check('a body that is too large is rejected readably', /413|Body too large/.test(error.message), error.message.slice(0, 300));
      return true;
    });
  }
  equal('the client goes on', text(await call('echo', { message: 'on' })), 'on');
  await client.close();
  if (session) await gone(url, session);
});
