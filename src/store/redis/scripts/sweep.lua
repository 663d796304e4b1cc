-- Decides what has expired: sessions by idleness or age, finished streams, tasks. Each session is
-- handed to whoever asks first. Says, too, whether there may be more.
local told = told_before()
if told then
  return told
end
give_room()
expire_tasks()
local idle, lifetime, kept_for, most = number(1), number(2), number(3), number(4)
local ended, more = {}, 0

local function finish(queue, before, reason)
  local names = call('ZRANGEBYSCORE', P .. queue, '-inf', int(before), 'LIMIT', 0, most)
  for _, name in ipairs(names) do
    open(name)
    ended[#ended + 1] = { name, remove(reason), reason }
  end
  if #names == most then
    more = 1
  end
end

if idle then
  local before = NOW - idle
  -- While the server was away nobody could use a session.
  local outage = call('HMGET', P .. 'outage', 'over', 'lasted')
  if outage[1] and NOW < tonumber(outage[1]) + 2 * idle then
    before = before - math.min(tonumber(outage[2]), idle)
  end
  finish('rest', before, 'idle')
end
if lifetime then
  finish('age', NOW - lifetime, 'lifetime')
end

local function forget_finished()
  local count, next_due = 0, nil
  while true do
    local stream, log = oldest_finished()
    if not stream or log[CLOSED_AT] + kept_for > NOW then
      break
    end
    forget(stream, log)
    count = count + 1
  end
  for _, stream in ipairs(call('ZRANGE', P .. 'f:' .. H, 0, -1)) do
    local log = log_of(stream)
    local due = log and (log[READER] == '' and log[CLOSED_AT] or NOW)
    if due and (not next_due or due < next_due) then
      next_due = due
    end
  end
  if next_due then
    call('ZADD', P .. 'kept', int(next_due), H)
  else
    call('ZREM', P .. 'kept', H)
  end
  save(false)
  return count
end

local names, forgotten = call('ZRANGEBYSCORE', P .. 'kept', '-inf', int(NOW - kept_for), 'LIMIT', 0, most), 0
for _, name in ipairs(names) do
  if open(name) then
    forgotten = forgotten + forget_finished()
  else
    call('ZREM', P .. 'kept', name)
  end
end
if #names == most and forgotten > 0 then
  more = 1
end
local answer = done(more, ended)
return #ended > 0 and remember(answer) or answer
