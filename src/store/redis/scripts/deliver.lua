-- Deliver: adds the announcements up to a number that a session wants to its standalone stream,
-- unless they were delivered before. Returns the last announcement that was delivered.
if not open(arg(1)) then
  return rejected(NOT_FOUND)
end
local stream, after, up_to, revision = '0', number(2), number(3), number(4)
local log = log_of(stream)
if not log then
  return done(up_to, 0)
end
if s.told ~= after or up_to <= s.told then
  return done(s.told, 0)
end
if s.rev ~= revision then
  return rejected(CONFLICT)
end
local demand = 0
for at = 11, #ARGV - 4 do
  demand = demand + size_of(arg(at))
end
-- A delivery may be larger than everything that may be stored. The bounds of the stream then decide
-- what remains.
local has_capacity, lost, trimmed = free_capacity(math.min(demand, number(10)), number(10))
if not has_capacity then
  return rejected(FULL)
end
if trimmed then
  open(arg(1))
  log = log_of(stream)
end
call('HSET', P .. 's:' .. H, 'told', int(up_to))
for at = 11, #ARGV - 4 do
  if not is_repeated(stream, log, arg(at)) then
    push(stream, log, false, arg(at))
  end
end
if #ARGV - 4 >= 11 then
  shrink(stream, log, number(5), number(6))
  local _, own = fit(stream, log, number(7), number(8), number(9))
  lost = lost + own
  wake_reader(stream, log)
  save_log(stream, log)
  save(false)
end
return done(up_to, lost)
