-- Create: stores a session. At a limit, sessions at rest are evicted: first those that were never
-- used, then those of the accounts with most sessions, then those that rested longest. A rejected
-- create changes nothing.
local reply = earlier_reply()
if reply then
  return reply
end
local session, principal, account = arg(1), arg(3), arg(7)
local limit, limit_of_one = number(5), number(6)
if call('EXISTS', P .. 's:' .. session) == 1 then
  return rejected(CONFLICT)
end

-- Maximum number of sessions of an account that are compared for one eviction. Of more than these a
-- random choice is compared, so that a create does not take longer for an account that has many.
local COMPARED = 256

-- Returns the sessions of a list that are at rest, in the order of their eviction: those that were
-- never used, oldest first, then those that rested longest.
local function in_order(list)
  local unused, rested = {}, {}
  for from = 1, #list, 1000 do
    local last = math.min(from + 999, #list)
    local opened = call('ZMSCORE', P .. 'fresh', unpack(list, from, last))
    local since = call('ZMSCORE', P .. 'rest', unpack(list, from, last))
    for at = 1, last - from + 1 do
      if opened[at] then
        unused[#unused + 1] = { tonumber(opened[at]), list[from + at - 1] }
      elseif since[at] then
        rested[#rested + 1] = { tonumber(since[at]), list[from + at - 1] }
      end
    end
  end
  local names = {}
  for _, found in ipairs({ unused, rested }) do
    table.sort(found, function(one, other)
      return one[1] < other[1]
    end)
    for _, pair in ipairs(found) do
      names[#names + 1] = pair[2]
    end
  end
  return names
end

-- Returns sessions of an account that can be evicted, in order. `count`: how many are needed.
local function candidates(account, count)
  local own = P .. 'of:' .. account
  if count == 1 and call('SCARD', own) > COMPARED then
    local some = in_order(call('SRANDMEMBER', own, COMPARED))
    if #some > 0 then
      return some
    end
  end
  return in_order(call('SMEMBERS', own))
end

local leaving, taken = {}, {}
local function leaves(name)
  leaving[#leaving + 1] = name
  taken[name] = true
end

-- Takes sessions of an account until `count` of them leave. Returns how many are missing.
local function take_of(account, count)
  for _, name in ipairs(count > 0 and candidates(account, count) or {}) do
    if count > 0 and not taken[name] then
      leaves(name)
      count = count - 1
    end
  end
  return count
end

if account ~= '' and take_of(account, call('SCARD', P .. 'of:' .. account) - limit_of_one + 1) > 0 then
  return rejected(principal ~= '' and FULL_FOR_PRINCIPAL or FULL_FOR_PEER)
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
    -- The last session of an account is not taken.
    local wanted = math.max(0, math.min(excess, tonumber(crowd[at + 1]) - 1))
    excess = excess - wanted + take_of(crowd[at], wanted)
  end
  if excess > 0 then
    first_in('rest')
  end
  if excess > 0 then
    return rejected(FULL)
  end
end

local evicted = {}
for _, name in ipairs(leaving) do
  if open(name) then
    evicted[#evicted + 1] = { name, remove('evicted') }
  else
    -- The session no longer exists; only its name is removed.
    forget_name(name, account ~= '' and account)
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
