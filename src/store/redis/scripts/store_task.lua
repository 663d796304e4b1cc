-- Decides whether a store of a task's document counts: under the version that is there, until it is
-- done, and where there is room.
local told = told_before()
if told then
  return told
end
local more = expire_tasks()
local task, version, ending, limit, limit_of_one, document = arg(1), arg(2), arg(3) == '1', number(4), number(5), arg(6)
local key = P .. 't:' .. task
local row = call('HMGET', key, 'version', 'principal', 'node', 'done', 'size')
if not row[1] or (more and is_over(task)) then
  return refused(NOT_FOUND)
end
if row[4] ~= '' then
  return refused(FENCED)
end
if row[1] ~= version then
  return done(0)
end
local old, new = tonumber(row[5]), size_of(document)
-- That of an orphan.
local place = call('ZSCORE', P .. 'task:idle', task)
local running = place and 0 or old
if not could_grow_of(row[2], running, new, limit_of_one) then
  return refused(FULL_FOR_PRINCIPAL)
end
if not could_grow(running, new, limit) then
  return refused(FULL)
end
-- It does not make room for itself.
rest(task, row[2], old, nil)
make_room_of(row[2], 0, old, new, math.huge, limit_of_one)
make_room(old, new, limit)
sum('bytes', new - old)
sum_of(row[2], 'bytes', new - old)
call('HSET', key, 'document', document, 'size', new, 'version', int(tonumber(version) + 1))
if ending then
  place = sum('ever_done', 1)
  call('HSET', key, 'done', place)
  call('SREM', P .. 'task:by:' .. row[3], task)
end
-- A node that was away for too long, and is back, runs what it ran.
if place and not ending and not is_lost(row[3]) then
  place = nil
end
rest(task, row[2], new, place)
ring_all('T' .. task)
return remember(done(1))
