-- Adds to a session's standalone stream what it wants of the announcements up to a number, unless it was told
-- of them before. Returns up to which announcement it is told.
if not open(arg(1)) then
  return refused(NOT_FOUND)
end
local stream, after, up_to, revision = '0', number(2), number(3), number(4)
local log = log_of(stream)
if not log then
  return done(up_to)
end
if s.told ~= after or up_to <= s.told then
  return done(s.told)
end
if s.rev ~= revision then
  return refused(CONFLICT)
end
local demand = 0
for at = 11, #ARGV - 4 do
  demand = demand + size_of(arg(at))
end
-- Where one delivery alone is more than may be kept, the bounds of the stream decide what stays of it.
if not make_room(math.min(demand, number(10)), number(10)) then
  return refused(FULL)
end
-- It may be one of those that made room.
open(arg(1))
log = log_of(stream)
call('HSET', P .. 's:' .. H, 'told', int(up_to))
for at = 11, #ARGV - 4 do
  if not is_repeated(stream, log, arg(at)) then
    push(stream, log, false, arg(at))
  end
end
if #ARGV - 4 >= 11 then
  shrink(stream, log, number(5), number(6))
  fit(stream, log, number(7), number(8), number(9))
  wake_reader(stream, log)
  save_log(stream, log)
  save(false)
end
return done(up_to)
