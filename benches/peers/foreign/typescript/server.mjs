// The official TypeScript SDK on node:http. For the session revisions the application stores the
// sessions, and for 2026-07-28 it uses the SDK's own entry point.
import { randomUUID } from 'node:crypto';
import { createServer } from 'node:http';
import { setTimeout } from 'node:timers/promises';

import {
    localhostHostValidation,
    localhostOriginValidation,
    NodeStreamableHTTPServerTransport,
    toNodeHandler
} from '@modelcontextprotocol/node';
import { createMcpHandler, McpServer } from '@modelcontextprotocol/server';
import { z } from 'zod';

const BACKLOG = 4096;

if (process.argv[2] !== 'default') {
    throw new Error(`no such variant: ${process.argv[2]}`);
}

const text = text => ({ content: [{ type: 'text', text }] });

// Sends `steps` progress notifications, with a pause before each.
async function steps(context, steps, millis) {
    const progressToken = context.mcpReq._meta?.progressToken;
    for (let progress = 1; progress <= steps; progress++) {
        if (millis > 0) {
            await setTimeout(millis);
        }
        await context.mcpReq.notify({
            method: 'notifications/progress',
            params: { progressToken, progress, total: steps }
        });
    }
    return text('done');
}

function tools() {
    const server = new McpServer({ name: 'peers', version: '1.0.0' });
    const echo = { description: 'Says it again.', inputSchema: z.object({ text: z.string() }) };
    server.registerTool('echo', echo, async call => text(call.text));
    server.registerTool('burst', { description: 'Fifty steps at once.' }, async context => steps(context, 50, 0));
    const slow = {
        description: 'Steps with a pause before each.',
        inputSchema: z.object({ steps: z.number(), millis: z.number() })
    };
    server.registerTool('slow', slow, async (call, context) => steps(context, call.steps, call.millis));
    return server;
}

const sessions = new Map();
const modern = toNodeHandler(createMcpHandler(tools, { legacy: 'reject' }));

async function legacy(request, response) {
    const id = request.headers['mcp-session-id'];
    let transport = sessions.get(id);
    if (id !== undefined && transport === undefined) {
        response.writeHead(404).end();
        return;
    }
    if (transport === undefined) {
        transport = new NodeStreamableHTTPServerTransport({
            sessionIdGenerator: randomUUID,
            onsessioninitialized: id => void sessions.set(id, transport),
            onsessionclosed: id => void sessions.delete(id)
        });
        await tools().connect(transport);
    }
    await transport.handleRequest(request, response);
}

const validHost = localhostHostValidation();
const validOrigin = localhostOriginValidation();

const server = createServer(async (request, response) => {
    if (!validHost(request, response) || !validOrigin(request, response)) {
        return;
    }
    const serve = request.headers['mcp-protocol-version'] === '2026-07-28' ? modern : legacy;
    await serve(request, response);
});

server.listen({ host: '127.0.0.1', port: 0, backlog: BACKLOG }, () => {
    console.log(`listening on http://127.0.0.1:${server.address().port}/mcp`);
});
