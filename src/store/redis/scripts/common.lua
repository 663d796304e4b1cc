-- Decides what every step has in common: its moment, its bells, its answer, and how a session and
-- what a node has in it are counted. Stands before each of the other scripts.
--
-- KEYS[1] is the prefix of all keys of one partition, with its hash tag: whatever a script touches
-- lies in one slot. That key never exists and KEYS[2] always does: while a cluster moves the slot, neither
-- side takes a step whose keys it has in part. A step's own arguments begin at ARGV[5]. Moments are microseconds by the clock
-- of the server; no node's clock counts.
--
--   s:<session>          hash    the session: info, principal, epoch, opened, next, calls, readers,
--                                bytes, closed (streams so far), n<node> (what a node has in it),
--                                answers (bytes of those that wait in q), used (once its client used it),
--                                told (up to which announcement), rev (how often the service's own state
--                                changed), account (its peer's, where it has no principal)
--   c:<session>          hash    stream -> its calls in flight
--   m:<session>          hash    stream -> what is known of its log
--   e:<session>:<stream> stream  the log
--   f:<session>          zset    finished streams, in the order they ended
--   q:<session>          hash    questions: stream, event, node that asks, kind of answer, answer
--   v:<session>          hash    the application's state
--   sum, large           what the streams of all sessions keep, in bytes;   zset: a<account> and, where a session has
--                                no account, s<session>, by their share of it
--   large:<account>      zset    its sessions, by their share
--   crowd                zset    accounts, by how many sessions they have
--   rest, age, kept      zset    sessions at rest, all sessions, sessions with finished streams
--   fresh                zset    those at rest that were not used since they were created, by that moment
--   of:<account>         set     sessions of a principal, or of a peer;   calls: hash, a principal's calls in flight
--   t:<task> task:*      tasks, see tasks.lua
--   topics, topic:bytes  zset    what was announced lately, by its number; its size
--   announced            string  the number of the newest announcement;   topic:gone: of the newest one that
--                                was forgotten
--   k:<session>          string  answers handed out lately, by the token of who asked, for a minute
--   leases               zset    processes, by when they count as dead;   dying: set, those that do,
--                                until all they had is given up;   away: hash, those that came, by when,
--                                and have not said yet that they know
--   beat, outages                when somebody last said that it lives; see outages.lua
--   rung                 hash    channel -> what was published there (in a cluster)
--   left:<process>       set     its nodes that said they are gone
--   nodes:<process>      set     its nodes that have something;   in:<node>: set, the sessions
--   r:<token>            string  the answer to a step that is not asked twice, for a minute; empty for one
--                                that was taken back
local P, COUNTS, PROCESS, TOKEN = KEYS[1], ARGV[1] == '1', ARGV[2], ARGV[4]
local LEASE = tonumber(ARGV[3])
local call = redis.call
local time = call('TIME')
local NOW = time[1] * 1000000 + time[2]

local NOT_FOUND, CONFLICT, FENCED, BEYOND_END = 'not found', 'conflict', 'fenced', 'beyond end'
local FULL, FULL_FOR_PRINCIPAL, FULL_FOR_PEER = 'full', 'full for principal', 'full for peer'

local function arg(at)
  return ARGV[at + 4]
end

local function number(at)
  return tonumber(ARGV[at + 4])
end

local function int(value)
  -- The sum has no sign where it is nothing; a server takes no '-0'.
  return string.format('%.0f', value + 0)
end

-- A cluster may lose what is published and tell nobody. What it was to hear is counted, so that a process can
-- tell.
local function publish(channel, text)
  if COUNTS then
    call('HINCRBY', P .. 'rung', channel, 1)
  end
  call('PUBLISH', P .. channel, text)
end

-- Bells of the process that asks are rung from its answer; another's go over the wire.
local bells = {}
local function ring(node, text)
  local process = string.sub(node, 1, 12)
  if process == PROCESS then
    bells[#bells + 1] = node .. text
  else
    publish('bell:' .. process, node .. text)
  end
end

local function ring_all(text)
  publish('bells', text)
end

-- How long something is that was said: what is sealed begins with this byte, and is longer by this.
local function size_of(text)
  return string.byte(text, 1) == 1 and math.max(0, #text - 41) or #text
end

-- Answers that no client had fetched, and that were forgotten to make room; also where a step is refused after all.
local lost_for_room = 0

local function refused(kind)
  return { kind, bells, lost_for_room }
end

local function done(...)
  return { 'ok', bells, ... }
end

-- The answer to the same step, asked again because it was not heard.
local function told_before()
  local told = TOKEN ~= '' and call('GET', P .. 'r:' .. TOKEN)
  return told and cmsgpack.unpack(told)
end

-- A step was taken back. It may be on its way still, and must not count when it comes.
local function take_back(token)
  call('SET', P .. 'r:' .. token, '', 'EX', 600)
end

local function was_taken_back()
  return call('EXISTS', P .. 'r:' .. TOKEN) == 1
end

local function remember(answer)
  call('SET', P .. 'r:' .. TOKEN, cmsgpack.pack({ answer[1], {}, unpack(answer, 3) }), 'EX', 60)
  return answer
end

-- A full server refuses a step at its first write that may take room, and none after one that may not.
-- What gives room back begins with this.
local function give_room()
  call('UNLINK', P)
end

-- The session this step is about.
local H, s

local function open(session)
  local row = call('HMGET', P .. 's:' .. session, 'principal', 'calls', 'readers', 'bytes', 'used', 'rev', 'told', 'account')
  if not row[1] then
    return false
  end
  H = session
  s = { principal = row[1], calls = tonumber(row[2]), readers = tonumber(row[3]), bytes = tonumber(row[4]), used = row[5] }
  s.rev, s.told = tonumber(row[6] or 0), tonumber(row[7] or 0)
  s.account = row[8] or s.principal
  s.was = { s.calls, s.readers, s.bytes }
  return true
end

local function open_as(session, principal)
  return open(session) and s.principal == principal
end

-- The streams of the open session keep so many bytes now, and kept so many before.
local function weigh(bytes, before)
  call('INCRBY', P .. 'sum', int(bytes - before))
  local queue, name = P .. 'large', 's' .. H
  if s.account ~= '' then
    if tonumber(call('ZINCRBY', queue, int(bytes - before), 'a' .. s.account)) <= 0 then
      call('ZREM', queue, 'a' .. s.account)
    end
    queue, name = P .. 'large:' .. s.account, H
  end
  if bytes > 0 then
    call('ZADD', queue, int(bytes), name)
  else
    call('ZREM', queue, name)
  end
end

-- An account has a session more, or one less.
local function count_sessions(account)
  local sessions = call('SCARD', P .. 'of:' .. account)
  if sessions > 0 then
    call('ZADD', P .. 'crowd', sessions, account)
  else
    call('ZREM', P .. 'crowd', account)
  end
end

-- Writes back what was counted. A session at rest stands in the queue of those, under the moment it
-- was last used; one that works does not.
local function save(used)
  local was = s.was
  if used and not s.used then
    call('HSET', P .. 's:' .. H, 'used', 1)
    call('ZREM', P .. 'fresh', H)
  end
  if s.calls ~= was[1] or s.readers ~= was[2] or s.bytes ~= was[3] then
    call('HSET', P .. 's:' .. H, 'calls', int(s.calls), 'readers', int(s.readers), 'bytes', int(s.bytes))
  end
  if s.bytes ~= was[3] then
    weigh(s.bytes, was[3])
    was[3] = s.bytes
  end
  if s.calls == 0 and s.readers == 0 then
    if used or was[1] ~= 0 or was[2] ~= 0 then
      call('ZADD', P .. 'rest', int(NOW), H)
    end
  elseif was[1] == 0 and was[2] == 0 then
    call('ZREM', P .. 'rest', H)
  end
end

-- The process is new, or back, and then what it had may be given up: it is told so with each sign of life,
-- until it says that it heard.
local function welcome()
  call('SREM', P .. 'dying', PROCESS)
  call('PERSIST', P .. 'left:' .. PROCESS)
  call('HSET', P .. 'away', PROCESS, int(NOW))
end

-- The process is known, so that somebody notices when it dies.
local function alive()
  if call('ZADD', P .. 'leases', 'NX', int(NOW + LEASE), PROCESS) == 1 then
    welcome()
  end
end

-- A node has one thing more in this session, or one less.
local function hold(node)
  if call('HINCRBY', P .. 's:' .. H, 'n' .. node, 1) == 1 then
    call('SADD', P .. 'in:' .. node, H)
    call('SADD', P .. 'nodes:' .. string.sub(node, 1, 12), node)
    alive()
  end
end

local function let_go(node)
  if call('HINCRBY', P .. 's:' .. H, 'n' .. node, -1) <= 0 then
    call('HDEL', P .. 's:' .. H, 'n' .. node)
    call('SREM', P .. 'in:' .. node, H)
  end
end

-- Calls in flight: node, token, ids as they came, ids as they are compared, which of them are cancelled
-- (and whether any is).
local function row_of(stream)
  local row = call('HGET', P .. 'c:' .. H, stream)
  return row and cmsgpack.unpack(row)
end

local function is_cancelled(row)
  return row and row[6] and 1 or 0
end

local function use(principal, calls)
  if principal ~= '' and calls ~= 0 and call('HINCRBY', P .. 'calls', principal, calls) <= 0 then
    call('HDEL', P .. 'calls', principal)
  end
end

-- A question is over, with its answer or without. Calls are what a node holds, and their questions go with
-- them; one on the standalone stream it holds for itself.
local function forget_question(id, row)
  call('HDEL', P .. 'q:' .. H, id)
  if row[5] then
    call('HINCRBY', P .. 's:' .. H, 'answers', -size_of(row[5]))
  end
  if row[1] == '0' then
    let_go(row[3])
  end
end

-- The calls of a stream are over, and with them their questions; whether there were any.
local function release(stream)
  local row = row_of(stream)
  if row then
    s.calls = s.calls - #row[3]
    call('HDEL', P .. 'c:' .. H, stream)
    let_go(row[1])
    use(s.principal, -#row[3])
  end
  local questions = call('HGETALL', P .. 'q:' .. H)
  for at = 1, #questions, 2 do
    local question = cmsgpack.unpack(questions[at + 1])
    if question[1] == stream then
      forget_question(questions[at], question)
    end
  end
  return row
end

local function strike(session)
  for _, queue in ipairs({ 'rest', 'fresh', 'age', 'kept' }) do
    call('ZREM', P .. queue, session)
  end
  call('ZREM', P .. 'large', 's' .. session)
end

-- The session is no more; gives its sealed facts.
local function remove(reason)
  local facts = call('HGETALL', P .. 's:' .. H)
  local info
  for at = 1, #facts, 2 do
    if facts[at] == 'info' then
      info = facts[at + 1]
    elseif string.sub(facts[at], 1, 1) == 'n' and facts[at] ~= 'next' then
      call('SREM', P .. 'in:' .. string.sub(facts[at], 2), H)
    end
  end
  if s.was[3] ~= 0 then
    weigh(0, s.was[3])
  end
  use(s.principal, -s.calls)
  if s.account ~= '' then
    call('SREM', P .. 'of:' .. s.account, H)
    count_sessions(s.account)
  end
  for _, stream in ipairs(call('HKEYS', P .. 'm:' .. H)) do
    call('UNLINK', P .. 'e:' .. H .. ':' .. stream)
  end
  for _, kind in ipairs({ 's:', 'c:', 'm:', 'f:', 'q:', 'v:' }) do
    call('UNLINK', P .. kind .. H)
  end
  strike(H)
  ring_all('E' .. H .. ' ' .. reason)
  return info
end
