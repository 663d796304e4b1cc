// A whole conversation between the official TypeScript client in its modern mode (2026-07-28) and a
// running server. A client of the session revisions talks to the server at the same time.

import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';

import { basics, cancelled, check, connected, equal, hold, options, progress, soon, text } from './common.mjs';

const MODERN = '2026-07-28';
const PIN = { pin: MODERN };
const WATCHED = 'test://watched-resource';
const streams = options.mode !== 'json';

/** Discovery, and what the client says of itself in each request. */
async function discovered({ client, wire }) {
  equal('the era', client.getProtocolEra(), 'modern');
  equal('the revision', client.getNegotiatedProtocolVersion(), MODERN);
  const { supportedVersions, capabilities, instructions, ttlMs, cacheScope } = await client.discover();
  equal('revisions served', supportedVersions, ['2025-03-26', '2025-06-18', '2025-11-25', MODERN]);
  const { tools, prompts, resources } = capabilities;
  check('capabilities', tools?.listChanged && prompts && resources, capabilities);
  check('instructions', instructions.includes('try clients'), instructions);
  equal('how long that may be kept', [ttlMs, cacheScope], [60_000, 'private']);
  check('the server was asked', wire.asked('server/discover').length > 0);
}

/** There is no session and no standalone stream, and every request names its revision. */
function stateless({ wire }) {
  equal('no session was issued', wire.session, undefined);
  equal('only POST', [...new Set(wire.seen.map(({ method }) => method))], ['POST']);
  const versions = new Set(wire.seen.map(({ sent }) => sent.get('mcp-protocol-version')));
  equal('the revision in each header', [...versions], [MODERN]);
}

/** Lists have several pages, and the client caches them for as long as the server allows. */
async function lists({ client, wire }) {
  const pages = () => wire.asked('tools/list').length;
  const { tools } = await client.listTools(undefined, { cacheMode: 'refresh' });
  const before = pages();
  check('a list of several pages', before > 3, before);
  equal('each tool once', new Set(tools.map(({ name }) => name)).size, tools.length);
  equal('the same tools again', (await client.listTools()).tools.length, tools.length);
  equal('a list that was kept is not asked for', pages(), before);
  await client.readResource({ uri: 'test://static-text' });
  await client.readResource({ uri: 'test://static-text' });
  const reads = wire.asked('resources/read').filter(({ sent }) => sent.get('mcp-name') === 'test://static-text');
  equal('contents that were kept are not asked for', reads.length, 1);
  await client.readResource({ uri: WATCHED });
  await client.readResource({ uri: WATCHED });
  const watched = wire.asked('resources/read').filter(({ sent }) => sent.get('mcp-name') === WATCHED);
  equal('contents that must not be kept are', watched.length, 2);
}

/** Each request asks for its own log messages. */
async function logs({ client, logged }) {
  const name = 'test_tool_with_logging';
  const lines = ['Tool execution started', 'Tool processing data', 'Tool execution completed'];
  await client.callTool({ name, arguments: {} });
  equal('no log messages to a client that wants none', logged, []);
  const at = (level) => client.callTool({ name, arguments: {}, _meta: { 'io.modelcontextprotocol/logLevel': level } });
  await at('info');
  equal('log messages', logged, lines.map((line) => ['info', line]));
  await at('error');
  equal('no log messages below the level', logged.length, lines.length);
}

/** The client mirrors arguments in headers, as the tool's schema requires. */
async function mirrored(url) {
  const { client, call, wire } = await connected(url, PIN);
  const sent = () => wire.asked('tools/call').at(-1).sent;
  const say = async (args) => text(await call('test_x_mcp_header', args));
  equal('a call before the tool was listed', await say({ region: 'eu' }), 'region=eu, priority=0, dry_run=false');
  equal('was rejected first', wire.asked('tools/call').map(({ answer }) => answer.status), [400, 200]);
  equal('and then had its header', sent().get('mcp-param-region'), 'eu');
  const args = { region: ' Zürich ', priority: -3, dry_run: true };
  equal('arguments of each type', await say(args), 'region= Zürich , priority=-3, dry_run=true');
  check('a text that no header can hold is coded', sent().get('mcp-param-region').startsWith('=?base64?'), [...sent()]);
  equal('numbers and booleans', [sent().get('mcp-param-priority'), sent().get('mcp-param-dry-run')], ['-3', 'true']);
  await client.close();
}

/** A client without capabilities. */
async function incapable(url) {
  const { client, call, wire } = await connected(url, PIN, {});
  await assert.rejects(call('test_missing_capability'), (error) => {
    equal('what is missing', [error.code, error.data], [-32021, { requiredCapabilities: { sampling: {} } }]);
    return true;
  });
  equal('the status of it', wire.asked('tools/call').at(-1).answer.status, 400);
  const able = await connected(url, PIN, { sampling: {} });
  equal('a client that can', text(await able.call('test_missing_capability')), 'The model said: forty-two');
  const said = text(await able.call('test_input_required_result_capabilities'));
  equal('only what it can is asked', said, 'The model said: forty-two.');
  await Promise.all([client.close(), able.client.close()]);
}

/** A call ends with requests to the client, which repeats it with the answers by itself. */
async function rounds({ client, call, asked, wire }) {
  const rounds = async (tool) => {
    const [before, clientRequests] = [wire.asked('tools/call').length, asked.length];
    const said = text(await call(tool));
    return [said, wire.asked('tools/call').length - before, asked.slice(clientRequests).sort()];
  };
  const stem = 'test_input_required_result_';
  const name = 'What is your name?';
  equal('elicitation', await rounds(`${stem}elicitation`), ['Hello, ada!', 2, [name]]);
  const capital = 'What is the capital of France?';
  equal('sampling', await rounds(`${stem}sampling`), ['The model said: forty-two', 2, [capital]]);
  equal('roots', await rounds(`${stem}list_roots`), ['Open: file:///home/ada/trains.', 2, ['roots']]);
  const all = 'Hello, ada! The model said: forty-two. Open: file:///home/ada/trains.';
  equal('all at once', await rounds(`${stem}multiple_inputs`), [all, 2, ['Say hello.', name, 'roots']]);
  const confirmed = ['confirmed, state-ok', 2, ['Shall it go on?']];
  equal('what came before is remembered', await rounds(`${stem}request_state`), confirmed);
  equal('one after the other', await rounds(`${stem}multi_round`), [
    'ada likes blue.',
    3,
    ['Step 1: what is your name?', 'Step 2: which colour does ada like best?'],
  ]);
  const prompt = await client.getPrompt({ name: `${stem}prompt` });
  equal('a prompt that asks', prompt.messages[0].content.text, 'Write about trains.');
  const answer = text(await call('test_elicitation', { message: 'Who are you?' }));
  check('a tool that was written for sessions', answer.includes('ada@example.com'), answer);
}

/** A subscription delivers changes, and the client drops its cached lists. */
async function listened({ client, call, wire }) {
  const seen = [];
  for (const kind of ['tools/list_changed', 'prompts/list_changed', 'resources/list_changed', 'resources/updated']) {
    client.setNotificationHandler(`notifications/${kind}`, ({ params }) => void seen.push([kind, params?.uri]));
  }
  const delivered = (count) => soon(`${count} changes were delivered`, () => seen.length, count);
  const listening = await client.listen({ toolsListChanged: true, resourceSubscriptions: [WATCHED] });
  equal('what is listened to', listening.honoredFilter, { toolsListChanged: true, resourceSubscriptions: [WATCHED] });
  await client.listTools();
  const kept = wire.asked('tools/list').length;
  await call('test_trigger_prompt_change');
  await call('test_trigger_resource_update', { uri: 'test://static-text' });
  await call('test_trigger_tool_change');
  await delivered(1);
  await call('test_trigger_resource_update');
  await delivered(2);
  const wanted = [['tools/list_changed', undefined], ['resources/updated', WATCHED]];
  equal('what was asked for, and nothing else', seen, wanted);
  await client.listTools();
  check('a list that changed is asked for again', wire.asked('tools/list').length > kept, kept);
  await listening.close();
  equal('the subscription was ended by the client', await listening.closed, 'local');
  await call('test_trigger_tool_change');
  // An announcement through Redis takes a moment, and a long one on a busy machine. A client that
  // subscribes in that time still receives it.
  await sleep(500);
  const again = await client.listen({ toolsListChanged: true });
  await call('test_trigger_tool_change');
  await soon('a new subscription gets changes again', () => seen.length >= 3, true);
  await again.close();
}

/** A client with a session and one without use the same server. */
async function sideBySide(url) {
  const [old, modern] = await Promise.all([connected(url), connected(url, 'auto')]);
  equal('eras', [old, modern].map(({ client }) => client.getProtocolEra()), ['legacy', 'modern']);
  const sessions = [old, modern].map(({ wire }) => wire.session);
  check('one has a session', sessions[0] && !sessions[1], sessions);
  const seen = [];
  for (const [name, { client }] of Object.entries({ old, modern })) {
    client.setNotificationHandler('notifications/tools/list_changed', () => void seen.push(name));
  }
  await soon('the standalone stream', () => old.wire.statuses('GET')[0], 200);
  const listening = await modern.client.listen({ toolsListChanged: true });
  for (const [announced, by] of [old, modern].entries()) {
    await by.call('test_trigger_tool_change');
    const wanted = ['modern', 'old'].flatMap((name) => Array(announced + 1).fill(name)).join();
    await soon('both were delivered', () => [...seen].sort().join(), wanted);
  }
  const words = Array.from({ length: 16 }, (_, n) => `number ${n}`);
  const answers = await Promise.all(
    words.map(async (message, n) => text(await [old, modern][n % 2].call('echo', { message }))),
  );
  equal('16 calls at once of both eras', answers, words);
  if (streams) {
    const greeted = await Promise.all([old, modern].map(({ call }) => call('test_input_required_result_elicitation')));
    equal('one handler asks both', greeted.map(text), ['Hello, ada!', 'Hello, ada!']);
  }
  await listening.close();
  await old.transport.terminateSession();
  await Promise.all([old.client.close(), modern.client.close()]);
}

await hold(async (url) => {
  const peer = await connected(url, PIN);
  await discovered(peer);
  await basics(peer);
  await lists(peer);
  if (streams) {
    await progress(peer);
    await logs(peer);
  }
  await rounds(peer);
  await listened(peer);
  await cancelled(peer);
  stateless(peer);
  await peer.client.close();
  await mirrored(url);
  await incapable(url);
  await sideBySide(url);
});
