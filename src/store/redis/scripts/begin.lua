-- Begin: accepts calls, all or none, and gives them a stream. A repetition with the same token
-- returns the same stream.
if not open_as(arg(1), arg(2)) then
  return rejected(NOT_FOUND)
end
if was_undone() then
  return rejected(FENCED)
end
local node, unique, limit, limit_of_one = arg(3), arg(4) == '1', number(5), number(6)
local written, compared = {}, {}
for at = 7, #ARGV - 4, 2 do
  written[#written + 1] = arg(at)
  compared[#compared + 1] = arg(at + 1)
end

local rows, clash = s.calls > 0 and call('HGETALL', P .. 'c:' .. H) or {}, false
local known = {}
for at = 1, #rows, 2 do
  local row = cmsgpack.unpack(rows[at + 1])
  if row[1] == node and row[2] == TOKEN then
    return done(tonumber(rows[at]), s.rev)
  end
  for _, id in ipairs(row[4]) do
    known[id] = true
  end
end
for _, id in ipairs(compared) do
  clash = clash or known[id]
  known[id] = true
end

local function rejected_after_use(kind)
  save(true)
  return rejected(kind)
end

if s.calls + #written > limit then
  return rejected_after_use(FULL)
end
if unique and clash then
  return rejected_after_use(CONFLICT)
end
local stream = tonumber(call('HGET', P .. 's:' .. H, 'next'))
-- A number is never reused: a session that has used all of them is over.
if stream >= 4294967295 then
  return rejected_after_use(NOT_FOUND)
end
if s.principal ~= '' then
  local used = tonumber(call('HGET', P .. 'calls', s.principal) or 0)
  if used + #written > limit_of_one then
    return rejected_after_use(FULL_FOR_PRINCIPAL)
  end
end
use(s.principal, #written)
s.calls = s.calls + #written
call('HSET', P .. 's:' .. H, 'next', int(stream + 1))
call('HSET', P .. 'c:' .. H, int(stream), cmsgpack.pack({ node, TOKEN, written, compared, {} }))
hold(node)
save(true)
return done(stream, s.rev)
