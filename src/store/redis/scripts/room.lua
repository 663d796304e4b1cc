-- Which sessions make room where the streams of all of them keep too much: the largest, a number of them at a
-- time. First with all that a reader was given, then with notifications, then with finished streams whose answer no
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
    for _, name in ipairs(call('ZREVRANGE', P .. 'large', 0, 15)) do
      if over > 0 and open(name) then
        local before = s.bytes
        lost = lost + give_up_of(class, over)
        over = over - (before - s.bytes)
        save(false)
      end
    end
  end
  return over <= 0, lost
end
