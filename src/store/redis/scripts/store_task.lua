-- Decides whether a store of a task's document counts: under the version that is there, until it is
-- done, and where there is room.
local told = told_before()
if told then
  return told
end
local more = expire_tasks()
local task, version, ending, limit, document = arg(1), arg(2), arg(3) == '1', number(4), arg(5)
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
if not could_grow(old, new, limit) then
  return refused(FULL)
end
make_room(old, new, limit)
sum('bytes', new - old)
call('HSET', key, 'document', document, 'size', new, 'version', int(tonumber(version) + 1))
if ending then
  local place = sum('ever_done', 1)
  call('HSET', key, 'done', place)
  call('ZADD', P .. 'task:done', place, task)
  sum('done_bytes', new)
  if row[2] ~= '' then
    call('ZADD', P .. 'task:of:' .. row[2], place, task)
  end
  call('SREM', P .. 'task:by:' .. row[3], task)
end
ring_all('T' .. task)
return remember(done(1))
