-- Store task: replaces the document of a task. It succeeds only with the current version, before
-- the task is done, and if there is capacity.
local reply = earlier_reply()
if reply then
  return reply
end
local more = expire_tasks()
local task, version, ending, limit, document = arg(1), arg(2), arg(3) == '1', number(4), arg(7)
local key = P .. 't:' .. task
local row = call('HMGET', key, 'version', 'principal', 'node', 'done', 'size', 'account')
if not row[1] or (more and is_over(task)) then
  return rejected(NOT_FOUND)
end
if row[4] ~= '' then
  return rejected(FENCED)
end
if row[1] ~= version then
  return done(0)
end
local old, new = tonumber(row[5]), size_of(document)
-- Set if the task is an orphan.
local place = call('ZSCORE', P .. 'task:idle', task)
local running, account, has_principal = place and 0 or old, row[6] or row[2], row[2] ~= ''
local limit_of_one = has_principal and number(5) or number(6)
if not could_grow_of(account, running, new, limit_of_one) then
  return rejected(has_principal and FULL_FOR_PRINCIPAL or FULL_FOR_PEER)
end
if not could_grow(running, new, limit) then
  return rejected(FULL)
end
-- The task is not evicted for its own sake.
rest(task, account, old, nil)
free_capacity_of(account, 0, old, new, math.huge, limit_of_one)
free_capacity(old, new, limit)
sum('bytes', new - old)
sum_of(account, 'bytes', new - old)
call('HSET', key, 'document', document, 'size', new, 'version', int(tonumber(version) + 1))
if ending then
  place = sum('ever_done', 1)
  call('HSET', key, 'done', place)
  call('SREM', P .. 'task:by:' .. row[3], task)
end
-- A node that comes back after it was given up runs its tasks again.
if place and not ending and not is_lost(row[3]) then
  place = nil
end
rest(task, account, new, place)
signal_all('T' .. task)
return remember(done(1))
