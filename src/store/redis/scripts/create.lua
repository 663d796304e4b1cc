-- Create: stores a session. At a limit, sessions at rest are evicted: first those that were never
-- used, then those of the accounts with most sessions, then those that rested longest. A rejected
-- create changes nothing.
local told = told_before()
if told then
  return told
end
local session, principal, account = arg(1), arg(3), arg(7)
local limit, limit_of_one = number(5), number(6)
if call('EXISTS', P .. 's:' .. session) == 1 then
  return refused(CONFLICT)
end

-- Returns the session of an account to evict: the oldest that was never used, or else the one that
-- rested longest.
local function first_of(list, taken)
  for _, queue in ipairs({ 'fresh', 'rest' }) do
    local found, since
    for from = 1, #list, 1000 do
      local moments = call('ZMSCORE', P .. queue, unpack(list, from, math.min(from + 999, #list)))
      for at, score in ipairs(moments) do
        local name, moment = list[from + at - 1], tonumber(score or nil)
        if moment and not taken[name] and (not since or moment < since) then
          found, since = name, moment
        end
      end
    end
    if found then
      return found
    end
  end
end

local leaving, taken = {}, {}
local function leaves(name)
  leaving[#leaving + 1] = name
  taken[name] = true
end

if account ~= '' then
  local own = call('SMEMBERS', P .. 'of:' .. account)
  while #own - #leaving >= limit_of_one do
    local name = first_of(own, taken)
    if not name then
      return refused(principal ~= '' and FULL_FOR_PRINCIPAL or FULL_FOR_PEER)
    end
    leaves(name)
  end
end
local excess = call('ZCARD', P .. 'age') - #leaving - limit + 1
if excess > 0 then
  local function first_in(queue)
    for _, name in ipairs(call('ZRANGE', P .. queue, 0, excess + #leaving - 1)) do
      if excess > 0 and not taken[name] then
        leaves(name)
        excess = excess - 1
      end
    end
  end
  first_in('fresh')
  -- A client that opens many sessions, and uses each of them, loses its own sessions first.
  local crowd = excess > 0 and call('ZREVRANGE', P .. 'crowd', 0, 3, 'WITHSCORES') or {}
  for at = 1, #crowd, 2 do
    local own, rest = excess > 0 and call('SMEMBERS', P .. 'of:' .. crowd[at]) or {}, tonumber(crowd[at + 1])
    while excess > 0 and rest > 1 do
      local name = first_of(own, taken)
      if not name then
        break
      end
      leaves(name)
      excess, rest = excess - 1, rest - 1
    end
  end
  if excess > 0 then
    first_in('rest')
  end
  if excess > 0 then
    return refused(FULL)
  end
end

local evicted = {}
for _, name in ipairs(leaving) do
  if open(name) then
    evicted[#evicted + 1] = { name, remove('evicted') }
  else
    -- The session no longer exists; only its name is removed.
    strike(name)
    call('SREM', P .. 'of:' .. account, name)
    count_sessions(account)
  end
end
call('HSET', P .. 's:' .. session, 'info', arg(2), 'principal', principal, 'epoch', arg(4), 'opened', int(NOW),
  'next', 1, 'calls', 0, 'readers', 0, 'bytes', 0, 'closed', 0)
call('ZADD', P .. 'age', int(NOW), session)
call('ZADD', P .. 'rest', int(NOW), session)
call('ZADD', P .. 'fresh', int(NOW), session)
if account ~= '' then
  call('SADD', P .. 'of:' .. account, session)
  count_sessions(account)
  if account ~= principal then
    call('HSET', P .. 's:' .. session, 'account', account)
  end
end
return remember(done(evicted))
