-- Publish: adds an event to the standalone stream, which any node may write. It is dropped if the
-- stream was never read, and merged with an equal event that is the newest and still unread. A
-- client request is dropped while no reader is attached.
local reply = earlier_reply()
if reply then
  return reply
end
-- Nothing is evicted for an event that will not be stored.
if not open(arg(1)) then
  return rejected(NOT_FOUND)
end
if not log_of('0') then
  return done(0, 0, 1, 0, 0)
end
local has_capacity, lost, trimmed = free_capacity(size_of(arg(4)), number(10))
if trimmed then
  open(arg(1))
end
local stream, node, kind, payload = '0', arg(2), arg(3), arg(4)
local is_request = string.sub(kind, 1, 1) == 'q'
local log = log_of(stream)
if not has_capacity or is_request and log[READER] == '' then
  -- Nothing of it is stored, whatever else is unread.
  return done(0, has_capacity and log[UNREAD] or 0, 1, lost, 0)
end

if kind ~= 'n' or not is_repeated(stream, log, payload) then
  local seq = push(stream, log, kind ~= 'n', payload)
  if is_request then
    open_request(string.sub(kind, 2), stream, seq, node)
  end
end
local dropped = shrink(stream, log, number(5), number(6))
local more, own = fit(stream, log, number(7), number(8), number(9))
wake_reader(stream, log)
save_log(stream, log)
save(false)
return remember(done(appended(log, dropped + more, lost + own, 0)))
