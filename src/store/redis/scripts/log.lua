-- Decides what one stream of a session keeps: the log is the channel. Stands before the scripts
-- that touch one, after common.lua. Beyond the bounds notifications are dropped, oldest first;
-- answers and open questions never.
--
-- A log's row: who may write it, the next number, the newest number a reader was given, bytes no
-- reader was given, bytes in all, notifications and their bytes, the size of the newest event,
-- where the closing append began and when it came, the present reader's node, how many readers there
-- were, the token the present one came with, and what must not be dropped as number, size, number..
local OWNER, NEXT, GIVEN, UNREAD, BYTES, NOTES, SPARE, NEWEST = 1, 2, 3, 4, 5, 6, 7, 8
local CLOSED, CLOSED_AT, READER, GENERATION, CAME, FIRM = 9, 10, 11, 12, 13, 14

local function log_of(stream)
  local row = call('HGET', P .. 'm:' .. H, stream)
  return row and cmsgpack.unpack(row)
end

local function new_log(owner)
  return { owner, 1, 0, 0, 0, 0, 0, 0, false, 0, '', 0, '', {} }
end

-- Its log; a new one if the stream is in flight and nobody needed one before.
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

-- Drops the oldest notifications until the rest of them fit, but never the newest event; how many of
-- them no reader was given.
local function shrink(stream, log, notes, bytes)
  -- Most often one event goes for one that came: then no more than that one is read.
  local dropped, from, count = 0, '-', 1
  local function too_much()
    return log[NOTES] > notes or log[SPARE] > bytes
  end
  while too_much() do
    local page, gone = call('XRANGE', events_of(stream), from, '+', 'COUNT', count), {}
    count = math.min(count * 4, 64)
    for _, event in ipairs(page) do
      local seq, size = tonumber(string.sub(event[1], 3)), size_of(event[2][2])
      if not too_much() or seq == log[NEXT] - 1 then
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

-- A question nobody waits for any more may be dropped like a notification.
local function settle(stream, seq)
  local log = log_of(stream)
  local at = log and is_firm(log, seq)
  if at then
    log[NOTES] = log[NOTES] + 1
    log[SPARE] = log[SPARE] + log[FIRM][at + 1]
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
    let_go(log[READER])
  end
  call('HDEL', P .. 'm:' .. H, stream)
  call('UNLINK', events_of(stream))
  if log[CLOSED] then
    call('ZREM', P .. 'f:' .. H, stream)
  end
end

-- The finished stream that ended first, of those that nobody reads.
local function oldest_finished()
  -- Most often it is the first.
  local from, page = 0, nil
  repeat
    page = call('ZRANGE', P .. 'f:' .. H, from, from + 7)
    for _, stream in ipairs(page) do
      local log = log_of(stream)
      if log and log[READER] == '' then
        return stream, log
      end
    end
    from = from + #page
  until #page < 8
end

-- What of a log could be dropped.
local function spare(log)
  local newest = 0
  if log[NEXT] > 1 and not is_firm(log, log[NEXT] - 1) then
    newest = log[NEWEST]
  end
  return log[SPARE] - newest
end

-- The stream that could drop most.
local function most_spare(written, log)
  local logs, most, stream = call('HGETALL', P .. 'm:' .. H), 0, nil
  local found
  for at = 1, #logs, 2 do
    local other = logs[at] == written and log or cmsgpack.unpack(logs[at + 1])
    local could = spare(other)
    if could > most then
      most, stream, found = could, logs[at], other
    end
  end
  return stream, found
end

-- Makes the session fit its bounds again: finished streams nobody reads go first, the oldest of them
-- first, then notifications of the stream that has most of them. How many the stream lost that was
-- written to.
local function fit(written, log, bytes, finished)
  local dropped, saved = 0, false
  while s.bytes > bytes or call('ZCARD', P .. 'f:' .. H) > finished do
    if not saved then
      -- It may be the very one that goes.
      save_log(written, log)
      saved = true
    end
    local stream, oldest = oldest_finished()
    if stream then
      forget(stream, oldest)
    else
      local excess = s.bytes - bytes
      stream, oldest = most_spare(written, log)
      if excess <= 0 or not stream then
        break
      end
      local lost = shrink(stream, oldest, math.huge, math.max(0, oldest[SPARE] - excess))
      if stream == written then
        dropped = dropped + lost
      else
        save_log(stream, oldest)
      end
    end
  end
  return dropped
end

local function wake_reader(stream, log)
  if log[READER] ~= '' then
    ring(log[READER], 'S' .. H .. ' ' .. stream)
  end
end

-- Whoever writes may be waiting for its reader.
local function wake_owner(stream, log)
  if log[OWNER] ~= '' and not log[CLOSED] then
    ring(log[OWNER], 'R' .. H .. ' ' .. stream)
  end
end

-- Tells the present reader to leave, and when to come back, in milliseconds; '' does not say.
local function send_away(stream, log, retry)
  if log[READER] ~= '' then
    ring(log[READER], 'L' .. H .. ' ' .. stream .. ' ' .. int(log[GENERATION]) .. ' ' .. retry)
  end
end

-- Opens a question that now stands in a stream; one that is open already stays as it is.
local function ask(id, stream, seq, node)
  local is_new = call('HSETNX', P .. 'q:' .. H, id, cmsgpack.pack({ stream, seq, node })) == 1
  if is_new and stream == '0' then
    hold(node)
  end
end

local function appended(log, dropped, cancelled)
  return log[READER] ~= '' and 1 or 0, log[UNREAD], dropped, cancelled
end
