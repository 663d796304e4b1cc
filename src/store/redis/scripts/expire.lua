-- Expire: removes what has expired, a limited number at a time: idle and old sessions, finished
-- streams, tasks. Each session is returned to the first caller. Also returns whether there may be
-- more.
local reply = earlier_reply()
if reply then
  return reply
end
local idle, lifetime, kept_for, most = number(1), number(2), number(3), number(4)
local ended, more = {}, expire_tasks()

local function finish(queue, before, reason)
  local names = call('ZRANGEBYSCORE', P .. queue, '-inf', int(before), 'LIMIT', 0, most)
  if #names > 0 then
    allow_writes()
  end
  for _, name in ipairs(names) do
    if open(name) then
      ended[#ended + 1] = { name, remove(reason), reason }
    else
      forget_name(name)
    end
  end
  more = more or #names == most
end

if idle then
  finish('rest', there_for(idle), 'idle')
end
if lifetime then
  finish('age', NOW - lifetime, 'lifetime')
end

-- Forgets finished streams of a session, oldest first. Returns how many.
local function forget_finished(before, at_most)
  local count, next_due = 0, nil
  for _, stream in ipairs(call('ZRANGE', P .. 'f:' .. H, 0, -1)) do
    local log = log_of(stream)
    if not log then
      call('ZREM', P .. 'f:' .. H, stream)
    elseif log[READER] ~= '' then
      next_due = next_due or NOW
    elseif log[CLOSED_AT] > before or count == at_most then
      next_due = log[CLOSED_AT]
      break
    else
      forget(stream, log)
      count = count + 1
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

-- Corrects the sum of all bytes, once a minute: keys may vanish, if the server evicts them.
-- Sessions that vanished are found a few at a time, chosen at random.
local function reconcile()
  if call('EXISTS', P .. 'large', P .. 'sum') == 0 then
    return
  end
  allow_writes()
  if not call('SET', P .. 'counted', 1, 'NX', 'EX', 60) then
    return
  end
  for _, member in ipairs(call('ZRANDMEMBER', P .. 'large', 64)) do
    local name = string.sub(member, 2)
    if string.sub(member, 1, 1) == 's' then
      if call('EXISTS', P .. 's:' .. name) == 0 then
        forget_bytes(name)
      end
    else
      for _, one in ipairs(call('ZRANDMEMBER', P .. 'large:' .. name, 64)) do
        if call('EXISTS', P .. 's:' .. one) == 0 then
          forget_name(one, name)
        end
      end
      if call('EXISTS', P .. 'large:' .. name) == 0 then
        call('ZREM', P .. 'large', member)
      end
    end
  end
  recount()
end

local before, streams = there_for(kept_for), 8 * most
local names = call('ZRANGEBYSCORE', P .. 'kept', '-inf', int(before), 'LIMIT', 0, most)
if #names > 0 then
  allow_writes()
end
for _, name in ipairs(names) do
  if streams == 0 then
    break
  elseif open(name) then
    streams = streams - forget_finished(before, streams)
  else
    forget_name(name)
  end
end
reconcile()
more = more or streams == 0 or (#names == most and streams < 8 * most)
local answer = done(more and 1 or 0, ended)
return #ended > 0 and remember(answer) or answer
