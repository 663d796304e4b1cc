-- Append: adds events to a stream for the node that owns it. The same events at the same place are
-- stored once, however often they arrive.
local from, demand = 12, 0
for at = from, #ARGV - 4, 2 do
  local size = size_of(arg(at + 1))
  -- A small response is always accepted, because it may be the one that reports a lack of capacity.
  if arg(at) ~= 'r' or size > 1024 then
    demand = demand + size
  end
end
if not open(arg(1)) then
  return rejected(NOT_FOUND)
end
local stream, node, first, closing = arg(2), arg(3), number(4), arg(5) == '1'
if stream == '0' then
  return rejected(FENCED)
end
local log = log_in_flight(stream)
if not log then
  return rejected(NOT_FOUND)
end
if log[OWNER] ~= node then
  return rejected(FENCED)
end
local cancelled = is_cancelled(row_of(stream))
local count = (#ARGV - 4 - from + 1) / 2
local stop = first + count

-- A repetition reports what the first run dropped and evicted, because its reply was lost.
local function repeated()
  local dropped, lost = 0, 0
  if log[LOSSES] and log[LOSSES][1] == first then
    dropped, lost = log[LOSSES][2], log[LOSSES][3]
  end
  return done(appended(log, dropped, lost, cancelled))
end

if log[CLOSED] and closing and first == log[CLOSED] and stop == log[NEXT]
  or not log[CLOSED] and count > 0 and first > 0 and stop <= log[NEXT] then
  return repeated()
end
local has_capacity, lost, trimmed = free_capacity(demand, number(11))
if trimmed then
  open(arg(1))
  log = log_in_flight(stream)
end
if log[CLOSED] then
  return rejected(FENCED)
end
if first ~= log[NEXT] then
  return rejected(CONFLICT)
end
if not has_capacity then
  return rejected(FULL)
end
for at = from, #ARGV - 4, 2 do
  local kind = arg(at)
  local seq = push(stream, log, kind ~= 'n', arg(at + 1))
  if string.sub(kind, 1, 1) == 'q' then
    open_request(string.sub(kind, 2), stream, seq, node)
  end
end
if closing then
  close(stream, log, first)
  release(stream)
end
local dropped = shrink(stream, log, number(6), number(7))
local more, own = fit(stream, log, number(8), number(9), number(10))
dropped, lost = dropped + more, lost + own
log[LOSSES] = dropped + lost > 0 and { first, dropped, lost }
wake_reader(stream, log)
save_log(stream, log)
save(closing)
return done(appended(log, dropped, lost, cancelled))
