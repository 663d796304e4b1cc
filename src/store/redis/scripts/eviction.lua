-- Eviction: what is dropped when the streams of all sessions hold too much. The largest sessions of
-- the largest accounts are trimmed first, a limited number at a time. First goes everything that a
-- reader received, then notifications, then finished streams whose answer no reader received.
-- Included before the scripts that write, after log.lua.

-- Drops up to so many bytes of the open session. Returns how many answers were lost.
local function drop_from(class, wanted)
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

-- Maximum number of sessions that are examined, in total and for one account: of the largest, and
-- as many again that are chosen at random.
local MOST, MOST_OF_ONE = 64, 48

-- Adds sessions of a member of the queue `large`: a few of an account, or the session itself.
local function add_sessions(names, member, few, sessions_of)
  local name, rest = string.sub(member, 2), MOST - #names
  if string.sub(member, 1, 1) == 's' then
    names[#names + 1] = { name }
  else
    for _, one in ipairs(sessions_of(P .. 'large:' .. name, math.min(rest, few))) do
      names[#names + 1] = { one, name }
    end
  end
end

-- Returns the sessions to trim, the largest account first, and in it the largest session.
local function largest()
  local names = {}
  for _, member in ipairs(call('ZREVRANGE', P .. 'large', 0, MOST - 1)) do
    if #names >= MOST then
      break
    end
    add_sessions(names, member, MOST_OF_ONE, function(queue, count)
      return call('ZREVRANGE', queue, 0, count - 1)
    end)
  end
  return names
end

-- Returns sessions at random. The largest may all be held by readers, or have only what must be
-- kept, while there is capacity elsewhere. The next operation chooses others.
local function sample()
  local members, names = call('ZRANDMEMBER', P .. 'large', MOST), {}
  for _, member in ipairs(members) do
    if #names >= MOST then
      break
    end
    add_sessions(names, member, math.ceil(MOST / #members), function(queue, count)
      return call('ZRANDMEMBER', queue, count)
    end)
  end
  return names
end

-- Returns `true` if there is capacity for so many bytes more, and the number of answers lost for
-- it. A third result says that sessions were trimmed: the session of the operation must then be
-- opened again, because it may be one of them.
local function free_capacity(demand, limit)
  if demand == 0 then
    return true, 0, false
  end
  local total = tonumber(call('GET', P .. 'sum') or nil)
  if not total and call('EXISTS', P .. 'large') == 1 then
    total = recount()
  end
  local over, lost = (total or 0) + demand - limit, 0
  if over <= 0 or demand > limit then
    return over <= 0, 0, false
  end
  for class = 1, 3 do
    for _, choose in ipairs({ largest, sample }) do
      for _, found in ipairs(over > 0 and choose() or {}) do
        if over > 0 and open(found[1]) then
          local before = s.bytes
          lost = lost + drop_from(class, over)
          over = over - (before - s.bytes)
          save(false)
        elseif over > 0 then
          over = over - forget_bytes(found[1], found[2])
        end
      end
    end
  end
  lost_for_capacity = lost
  return over <= 0, lost, true
end
