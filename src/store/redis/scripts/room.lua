-- Which sessions make room where the streams of all of them keep too much: the largest of the accounts that keep most, a
-- number of them at a time. First with all that a reader was given, then with notifications, then with finished streams whose answer no
-- reader was given. Stands before the scripts that write, after log.lua.

-- Gives up so many bytes of the open session, if it has them. Returns how many answers were lost.
local function give_up_of(class, wanted)
  local rows, logs, lost = call('HGETALL', P .. 'm:' .. H), {}, 0
  local rest = math.max(0, s.bytes - wanted)
  for at = 1, #rows, 2 do
    logs[rows[at]] = cmsgpack.unpack(rows[at + 1])
  end
  if class < 3 then
    for at = 1, #rows, 2 do
      local stream = rows[at]
      local log = logs[stream]
      local field = class == 1 and OLD or SPARE
      local could = class == 1 and spare_given(log) or spare(log)
      if could > 0 and (class == 1 or s.bytes > rest) then
        local keep = class == 1 and 0 or math.max(0, log[field] - (s.bytes - rest))
        drop_while(stream, log, class == 1 and log[GIVEN] or math.huge, function()
          return log[field] > keep
        end)
        save_log(stream, log)
      end
    end
  end
  if class ~= 2 then
    for _, stream in ipairs(call('ZRANGE', P .. 'f:' .. H, 0, -1)) do
      local log = logs[stream]
      if log and log[READER] == '' and (is_read(log) or (class == 3 and s.bytes > rest)) then
        lost = lost + (is_read(log) and 0 or 1)
        forget(stream, log)
      end
    end
  end
  return lost
end

-- So many sessions are looked at, and so many of one account.
local MOST, MOST_OF_ONE = 64, 48

-- The sessions that make room, the largest account first, and in it the largest session.
local function largest()
  local names = {}
  for _, who in ipairs(call('ZREVRANGE', P .. 'large', 0, MOST - 1)) do
    local name, rest = string.sub(who, 2), MOST - #names
    if string.sub(who, 1, 1) == 's' then
      names[#names + 1] = { name }
    else
      for _, one in ipairs(call('ZREVRANGE', P .. 'large:' .. name, 0, math.min(rest, MOST_OF_ONE) - 1)) do
        names[#names + 1] = { one, name }
      end
    end
    if #names >= MOST then
      break
    end
  end
  return names
end

-- A session that is gone, and whose weight is not.
local function forget_weight(name, account)
  if account then
    local bytes = tonumber(call('ZSCORE', P .. 'large:' .. account, name) or nil) or 0
    call('ZREM', P .. 'large:' .. account, name)
    if tonumber(call('ZINCRBY', P .. 'large', int(-bytes), 'a' .. account)) <= 0 then
      call('ZREM', P .. 'large', 'a' .. account)
    end
  else
    call('ZREM', P .. 'large', 's' .. name)
  end
end

-- Returns whether there is room for so many bytes more, and how many answers were lost for it. To be asked before the
-- session of a step is opened: it may be one of those that make room.
local function make_room(demand, limit)
  local lost = 0
  if demand == 0 then
    return true, lost
  end
  local over = (tonumber(call('GET', P .. 'sum') or nil) or 0) + demand - limit
  if over <= 0 or demand > limit then
    return over <= 0, lost
  end
  for class = 1, 3 do
    for _, found in ipairs(over > 0 and largest() or {}) do
      if over > 0 and open(found[1]) then
        local before = s.bytes
        lost = lost + give_up_of(class, over)
        over = over - (before - s.bytes)
        save(false)
      elseif over > 0 then
        forget_weight(found[1], found[2])
      end
    end
  end
  lost_for_room = lost
  return over <= 0, lost
end
