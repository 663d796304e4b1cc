-- Log: the events of one stream of a session. Included before the scripts that use one, after
-- common.lua. Beyond the bounds notifications are dropped, oldest first; answers and open client
-- requests never are.
--
-- A log's row:
--
-- - OWNER: the node that may write it
-- - NEXT: the next number
-- - GIVEN: the newest number that a reader received
-- - UNREAD: bytes that no reader received
-- - BYTES: bytes in total
-- - NOTES, SPARE: the number of notifications, and their bytes
-- - NEWEST: the size of the newest event
-- - CLOSED, CLOSED_AT: where the closing append began, and when it arrived
-- - READER: the node of the current reader
-- - GENERATION: how many readers there were
-- - CAME: the token with which the current reader attached
-- - FIRM: what must not be dropped, as number, size, number..
-- - OLD: bytes of notifications that a reader received
-- - LOSSES: if the newest append dropped anything: where it began, how many notifications it dropped
--   and how many answers it evicted
local OWNER, NEXT, GIVEN, UNREAD, BYTES, NOTES, SPARE, NEWEST = 1, 2, 3, 4, 5, 6, 7, 8
local CLOSED, CLOSED_AT, READER, GENERATION, CAME, FIRM, OLD, LOSSES = 9, 10, 11, 12, 13, 14, 15, 16

local function log_of(stream)
  local row = call('HGET', P .. 'm:' .. H, stream)
  return row and cmsgpack.unpack(row)
end

local function new_log(owner)
  return { owner, 1, 0, 0, 0, 0, 0, 0, false, 0, '', 0, '', {}, 0, false }
end

-- Returns the log of a stream, or a new one if the stream is in flight and has none yet.
local function log_in_flight(stream)
  local log = log_of(stream)
  if log then
    return log
  end
  local row = row_of(stream)
  return row and new_log(row[1])
end

local function save_log(stream, log)
  call('HSET', P .. 'm:' .. H, stream, cmsgpack.pack(log))
end

local function events_of(stream)
  return P .. 'e:' .. H .. ':' .. stream
end

local function push(stream, log, firm, payload)
  local seq, size = log[NEXT], size_of(payload)
  call('XADD', events_of(stream), '0-' .. int(seq), 'p', payload)
  log[NEXT] = seq + 1
  log[UNREAD] = log[UNREAD] + size
  log[BYTES] = log[BYTES] + size
  log[NEWEST] = size
  s.bytes = s.bytes + size
  if firm then
    local list = log[FIRM]
    list[#list + 1] = seq
    list[#list + 1] = size
  else
    log[NOTES] = log[NOTES] + 1
    log[SPARE] = log[SPARE] + size
  end
  return seq
end

local function is_firm(log, seq)
  local list = log[FIRM]
  for at = 1, #list, 2 do
    if list[at] == seq then
      return at
    end
  end
  return false
end

-- Drops the oldest notifications up to a number, as long as `wanted` holds, but never the newest
-- event. Returns how many of them no reader received.
local function drop_while(stream, log, up_to, wanted)
  -- Usually one event is dropped for each new one, so only one is read at first.
  local dropped, from, count = 0, '-', 1
  while wanted() do
    local page, gone = call('XRANGE', events_of(stream), from, '+', 'COUNT', count), {}
    count = math.min(count * 4, 64)
    for _, event in ipairs(page) do
      local seq, size = tonumber(string.sub(event[1], 3)), size_of(event[2][2])
      if not wanted() or seq > up_to or seq == log[NEXT] - 1 then
        page = {}
        break
      end
      if not is_firm(log, seq) then
        gone[#gone + 1] = event[1]
        log[NOTES] = log[NOTES] - 1
        log[SPARE] = log[SPARE] - size
        log[BYTES] = log[BYTES] - size
        s.bytes = s.bytes - size
        if seq > log[GIVEN] then
          log[UNREAD] = log[UNREAD] - size
          dropped = dropped + 1
        else
          log[OLD] = math.max(0, log[OLD] - size)
        end
      end
      from = '(' .. event[1]
    end
    if #gone > 0 then
      call('XDEL', events_of(stream), unpack(gone))
    end
    if #page == 0 then
      break
    end
  end
  return dropped
end

-- Drops the oldest notifications until the rest fit.
local function shrink(stream, log, notes, bytes)
  return drop_while(stream, log, math.huge, function()
    return log[NOTES] > notes or log[SPARE] > bytes
  end)
end

-- A client request that is answered or withdrawn may be dropped like a notification.
local function settle(stream, seq)
  local log = log_of(stream)
  local at = log and is_firm(log, seq)
  if at then
    log[NOTES] = log[NOTES] + 1
    log[SPARE] = log[SPARE] + log[FIRM][at + 1]
    if seq <= log[GIVEN] then
      log[OLD] = log[OLD] + log[FIRM][at + 1]
    end
    table.remove(log[FIRM], at)
    table.remove(log[FIRM], at)
    save_log(stream, log)
  end
end

local function close(stream, log, first)
  log[CLOSED], log[CLOSED_AT] = first, NOW
  call('ZADD', P .. 'f:' .. H, call('HINCRBY', P .. 's:' .. H, 'closed', 1), stream)
  call('ZADD', P .. 'kept', 'NX', int(NOW), H)
end

local function forget(stream, log)
  s.bytes = s.bytes - log[BYTES]
  if log[READER] ~= '' then
    s.readers = s.readers - 1
    release_hold(log[READER])
  end
  call('HDEL', P .. 'm:' .. H, stream)
  call('UNLINK', events_of(stream))
  if log[CLOSED] then
    call('ZREM', P .. 'f:' .. H, stream)
  end
end

-- Returns how many bytes of a log could be dropped.
local function spare(log)
  local newest = 0
  if log[NEXT] > 1 and not is_firm(log, log[NEXT] - 1) then
    newest = log[NEWEST]
  end
  return log[SPARE] - newest
end

-- Returns how many of these bytes a reader received.
local function spare_given(log)
  local newest = 0
  if log[NEXT] > 1 and log[GIVEN] == log[NEXT] - 1 and not is_firm(log, log[NEXT] - 1) then
    newest = log[NEWEST]
  end
  return log[OLD] - newest
end

-- Returns the bytes of answers and open client requests that no reader received. They may not be
-- dropped.
local function owed(log)
  local sum, list = 0, log[FIRM]
  for at = 1, #list, 2 do
    if list[at] > log[GIVEN] then
      sum = sum + list[at + 1]
    end
  end
  return sum
end

-- Returns `true` if the log is closed and a reader received all of it.
local function is_read(log)
  return log[CLOSED] and log[GIVEN] == log[NEXT] - 1
end

-- Makes the session fit its bounds again. It drops in this order, as the memory engine does:
--
-- 1. Notifications that a reader received.
-- 2. Finished streams that were read to their end.
-- 3. Notifications that no reader received.
-- 4. Finished streams with an answer that no reader received.
--
-- A stream that has a reader, or that is being written, is never forgotten. Answers and open client
-- requests that no reader received may exceed `bytes` by up to `answers`. Returns how many
-- notifications the written stream lost, and how many answers were lost.
local function fit(written, log, bytes, answers, finished)
  local dropped, lost, logs = 0, 0, nil
  local function all()
    if not logs then
      local rows = call('HGETALL', P .. 'm:' .. H)
      logs = {}
      for at = 1, #rows, 2 do
        logs[rows[at]] = cmsgpack.unpack(rows[at + 1])
      end
      logs[written] = log
    end
    return logs
  end
  local function excess()
    if s.bytes <= bytes then
      return 0
    end
    local waits = 0
    for _, one in pairs(all()) do
      waits = waits + owed(one)
    end
    return math.max(0, s.bytes - bytes - math.min(waits, answers))
  end
  local function most(could)
    local best, stream = 0, nil
    for name, one in pairs(all()) do
      local size = could(one)
      if size > best or (size == best and stream and name < stream) then
        best, stream = size, name
      end
    end
    return stream, stream and logs[stream]
  end
  local function drop(stream, one, up_to, field, size)
    local rest = math.max(0, one[field] - size)
    local count = drop_while(stream, one, up_to, function()
      return one[field] > rest
    end)
    if stream == written then
      dropped = dropped + count
    else
      save_log(stream, one)
    end
  end
  -- Forgets the finished stream without a reader that ended first; with `read` set, only one that
  -- was read to its end.
  local function forget_first(read)
    local from, page = 0, nil
    repeat
      page = call('ZRANGE', P .. 'f:' .. H, from, from + 7)
      for _, stream in ipairs(page) do
        local one = stream ~= written and (logs and logs[stream] or log_of(stream))
        if one and one[READER] == '' and (not read or is_read(one)) then
          forget(stream, one)
          if logs then
            logs[stream] = nil
          end
          lost = lost + (is_read(one) and 0 or 1)
          return true
        end
      end
      from = from + #page
    until #page < 8
  end
  while true do
    local over = excess()
    if over == 0 and call('ZCARD', P .. 'f:' .. H) <= finished then
      return dropped, lost
    end
    local stream, one
    if over > 0 then
      stream, one = most(spare_given)
    end
    if stream then
      drop(stream, one, one[GIVEN], OLD, over)
    elseif not forget_first(true) then
      if over > 0 then
        stream, one = most(spare)
      end
      if stream then
        drop(stream, one, math.huge, SPARE, over)
      elseif not forget_first(false) then
        return dropped, lost
      end
    end
  end
end

local function wake_reader(stream, log)
  if log[READER] ~= '' then
    signal(log[READER], 'S' .. H .. ' ' .. stream)
  end
end

-- The owner may be waiting for its reader.
local function wake_owner(stream, log)
  if log[OWNER] ~= '' and not log[CLOSED] then
    signal(log[OWNER], 'R' .. H .. ' ' .. stream)
  end
end

-- Asks the current reader to detach. `retry` says when to reconnect, in milliseconds; '' leaves it
-- open.
local function request_detach(stream, log, retry)
  if log[READER] ~= '' then
    signal(log[READER], 'L' .. H .. ' ' .. stream .. ' ' .. int(log[GENERATION]) .. ' ' .. retry)
  end
end

-- Opens a client request that is now in a stream. One that is already open does not change.
local function open_request(id, stream, seq, node)
  local is_new = call('HSETNX', P .. 'q:' .. H, id, cmsgpack.pack({ stream, seq, node })) == 1
  if is_new and stream == '0' then
    hold(node)
  end
end

local function appended(log, dropped, lost, cancelled)
  return log[READER] ~= '' and 1 or 0, log[UNREAD], dropped, lost, cancelled
end
