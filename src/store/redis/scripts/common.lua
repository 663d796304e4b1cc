-- The parts that every operation shares: its time, its signals, its reply, and the counts of a
-- session and of what a node holds in it. Included before each of the other scripts.
--
-- KEYS[1] is the prefix of all keys of one namespace, with its hash tag: all keys of a script are
-- in one slot. The prefix itself never exists as a key, and KEYS[2] always does. While a cluster
-- moves the slot, neither side therefore runs an operation whose keys it has only in part. An
-- operation's own arguments begin at ARGV[5]. Times are microseconds of the server's clock; no
-- node's clock counts.
--
--   s:<session>          hash    the session: info, principal, epoch, opened, next, calls, readers, bytes,
--                                closed (number of finished streams so far), n<node> (what a node holds
--                                in it), answers (bytes of the answers that wait in q), used (once its
--                                client used it), told (the last announcement delivered to it), rev (how
--                                often the service's own state changed), account (its peer's, if it has
--                                no principal)
--   c:<session>          hash    stream -> its calls in flight
--   m:<session>          hash    stream -> the row of its log
--   e:<session>:<stream> stream  the log
--   f:<session>          zset    finished streams, in the order they ended
--   q:<session>          hash    client requests: stream, event, node that sent it, kind of answer, answer
--   v:<session>          hash    the application's state
--   sum                  string  bytes that the streams of all sessions hold
--   counted              string  exists for a minute after the sum was checked
--   large                zset    a<account>, or s<session> if a session has no account, by its share of sum
--   large:<account>      zset    its sessions, by their share
--   crowd                zset    accounts, by their number of sessions
--   rest                 zset    sessions at rest, by the time of their last use
--   age                  zset    all sessions, by the time they were created
--   kept                 zset    sessions with finished streams, by when the oldest of them ended
--   fresh                zset    sessions at rest that were never used, by the time they were created
--   of:<account>         set     sessions of a principal, or of a peer
--   calls                hash    principal -> its calls in flight
--   t:<task> task:*              tasks, see tasks.lua
--   topics               zset    the latest announcements, by number
--   topic:bytes          string  their size
--   announced            string  the number of the newest announcement
--   topic:gone           string  the number of the newest announcement that was forgotten
--   k:<session>          string  the latest answers handed out, by the token of the taker, for a minute
--   leases               zset    processes, by when they count as dead
--   dying                set     dead processes, until everything they held is released
--   away                 hash    process -> when it was registered, until the process acknowledges it
--   beat, outages                the time of the last heartbeat; see outages.lua
--   rung                 hash    channel -> number of messages published there (in a cluster)
--   left:<process>       set     its nodes that said they are gone
--   nodes:<process>      set     its nodes that hold something
--   in:<node>            set     the sessions in which the node holds something
--   r:<token>            string  the reply to an operation that must not run twice, for a minute; empty, for
--                                ten minutes, if the operation was undone
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
  -- A sum of zero has no sign: the server rejects '-0'.
  return string.format('%.0f', value + 0)
end

-- A cluster may silently lose what is published. Messages are counted per channel, so that a
-- process can notice.
local function publish(channel, text)
  if COUNTS then
    call('HINCRBY', P .. 'rung', channel, 1)
  end
  call('PUBLISH', P .. channel, text)
end

-- Signals for the calling process travel in its reply; those for other processes are published.
local signals = {}
local function signal(node, text)
  local process = string.sub(node, 1, 12)
  if process == PROCESS then
    signals[#signals + 1] = node .. text
  else
    publish('bell:' .. process, node .. text)
  end
end

local function signal_all(text)
  publish('bells', text)
end

-- Returns the size of a text before encryption. An encrypted text begins with this byte and is 41
-- bytes longer.
local function size_of(text)
  return string.byte(text, 1) == 1 and math.max(0, #text - 41) or #text
end

-- Number of answers that no client had fetched and that were evicted. It counts even if the
-- operation is rejected afterwards.
local lost_for_capacity = 0

local function rejected(kind)
  return { kind, signals, lost_for_capacity }
end

local function done(...)
  return { 'ok', signals, ... }
end

-- Returns the reply to this operation if it ran before and its reply was lost.
local function earlier_reply()
  local packed = TOKEN ~= '' and call('GET', P .. 'r:' .. TOKEN)
  return packed and cmsgpack.unpack(packed)
end

-- Marks an operation as undone. It may still be on its way, and must have no effect when it
-- arrives.
local function mark_undone(token)
  call('SET', P .. 'r:' .. token, '', 'EX', 600)
end

local function was_undone()
  return call('EXISTS', P .. 'r:' .. TOKEN) == 1
end

local function remember(answer)
  call('SET', P .. 'r:' .. TOKEN, cmsgpack.pack({ answer[1], {}, unpack(answer, 3) }), 'EX', 60)
  return answer
end

-- A full server rejects an operation at its first write that may use memory. After a write that
-- cannot use any, it rejects no later write of the operation. Operations that release memory
-- therefore begin with such a write.
local function allow_writes()
  call('UNLINK', P)
end

-- The session of this operation.
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

-- Updates the totals for the open session, whose streams now hold `bytes` and held `before`
-- earlier.
local function count_bytes(bytes, before)
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

-- Removes the bytes of a session that no longer exists. Returns how many they were.
local function forget_bytes(name, account)
  local queue, member = P .. 'large', 's' .. name
  if account then
    queue, member = P .. 'large:' .. account, name
  end
  local bytes = tonumber(call('ZSCORE', queue, member) or nil) or 0
  call('ZREM', queue, member)
  if bytes > 0 then
    call('DECRBY', P .. 'sum', int(bytes))
    if account and tonumber(call('ZINCRBY', P .. 'large', int(-bytes), 'a' .. account)) <= 0 then
      call('ZREM', P .. 'large', 'a' .. account)
    end
  end
  return bytes
end

-- Computes the sum of all bytes anew, after it was lost.
local function recount()
  local members, total = call('ZRANGE', P .. 'large', 0, -1, 'WITHSCORES'), 0
  for at = 2, #members, 2 do
    total = total + tonumber(members[at])
  end
  if total > 0 then
    call('SET', P .. 'sum', int(total))
  else
    call('UNLINK', P .. 'sum')
  end
  return total
end

-- Updates the number of sessions of an account.
local function count_sessions(account)
  local sessions = call('SCARD', P .. 'of:' .. account)
  if sessions > 0 then
    call('ZADD', P .. 'crowd', sessions, account)
  else
    call('ZREM', P .. 'crowd', account)
  end
end

-- Writes back the counters. A session at rest is in the queue of those, by the time of its last
-- use; a session with calls or readers is not.
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
    count_bytes(s.bytes, was[3])
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

-- Registers a process that is new, or that comes back after it was given up. Each heartbeat reports
-- the registration until the process acknowledges it.
local function register()
  call('SREM', P .. 'dying', PROCESS)
  call('PERSIST', P .. 'left:' .. PROCESS)
  call('HSET', P .. 'away', PROCESS, int(NOW))
end

-- Gives the process a lease, so that its death is noticed.
local function alive()
  if call('ZADD', P .. 'leases', 'NX', int(NOW + LEASE), PROCESS) == 1 then
    register()
  end
end

-- A node holds one thing more in this session; `let_go` is the reverse.
local function hold(node)
  if call('HINCRBY', P .. 's:' .. H, 'n' .. node, 1) == 1 then
    call('SADD', P .. 'in:' .. node, H)
    call('SADD', P .. 'nodes:' .. string.sub(node, 1, 12), node)
    alive()
  end
end

local function release_hold(node)
  if call('HINCRBY', P .. 's:' .. H, 'n' .. node, -1) <= 0 then
    call('HDEL', P .. 's:' .. H, 'n' .. node)
    call('SREM', P .. 'in:' .. node, H)
  end
end

-- A row of calls in flight: node, token, ids as sent, ids in canonical form, which of them are
-- cancelled, and whether any is.
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

-- Removes a client request, answered or not. A node holds its calls, and their client requests go
-- with them. A request on the standalone stream it holds separately.
local function forget_request(id, row)
  call('HDEL', P .. 'q:' .. H, id)
  if row[5] then
    call('HINCRBY', P .. 's:' .. H, 'answers', -size_of(row[5]))
  end
  if row[1] == '0' then
    release_hold(row[3])
  end
end

-- Removes the calls of a stream and their client requests. Returns the row of the calls, if there
-- were any.
local function release(stream)
  local row = row_of(stream)
  if row then
    s.calls = s.calls - #row[3]
    call('HDEL', P .. 'c:' .. H, stream)
    release_hold(row[1])
    use(s.principal, -#row[3])
  end
  local requests = call('HGETALL', P .. 'q:' .. H)
  for at = 1, #requests, 2 do
    local request = cmsgpack.unpack(requests[at + 1])
    if request[1] == stream then
      forget_request(requests[at], request)
    end
  end
  return row
end

-- Removes the names of a session from the queues.
local function remove_names(session)
  for _, queue in ipairs({ 'rest', 'fresh', 'age', 'kept' }) do
    call('ZREM', P .. queue, session)
  end
end

-- Removes what is left of a session that no longer exists. Not every caller knows its account.
local function forget_name(session, account)
  remove_names(session)
  forget_bytes(session, account)
  if account then
    call('SREM', P .. 'of:' .. account, session)
    count_sessions(account)
  end
end

-- Removes the session, and returns its encrypted facts.
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
    count_bytes(0, s.was[3])
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
  remove_names(H)
  signal_all('E' .. H .. ' ' .. reason)
  return info
end
