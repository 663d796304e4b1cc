-- Create task: stores a task. At a limit, tasks that no node runs are evicted, those of the account
-- first, then any. A rejected operation changes nothing.
local reply = earlier_reply()
if reply then
  return reply
end
local more = expire_tasks()
local task, principal, node, ttl, document = arg(1), arg(2), arg(3), number(4), arg(10)
local limit, limit_of_one, limit_of_bytes, bytes_of_one = number(5), number(6), number(7), number(8)
local account = arg(9)
local own, size = P .. 'task:of:' .. account, size_of(document)
if call('EXISTS', P .. 't:' .. task) == 1 then
  return rejected(CONFLICT)
end

local function full_kind()
  if account ~= '' and call('ZCOUNT', own, '+inf', '+inf') >= limit_of_one
    or not could_grow_of(account, 0, size, bytes_of_one) then
    return principal ~= '' and FULL_FOR_PRINCIPAL or FULL_FOR_PEER
  end
  if total('all') - call('ZCARD', P .. 'task:idle') >= limit or not could_grow(0, size, limit_of_bytes) then
    return FULL
  end
end

local full, pages = full_kind(), 1
-- Expired tasks do not count. If more of them exist than this loop removes, a sweep will follow.
while full and more and pages < 16 do
  more, pages = expire_tasks(), pages + 1
  full = full_kind()
end
if full then
  return rejected(full)
end
free_capacity_of(account, 1, 0, size, limit_of_one, bytes_of_one)
while total('all') >= limit and forget_one() do
end
free_capacity(0, size, limit_of_bytes)

call('HSET', P .. 't:' .. task, 'document', document, 'size', size, 'version', 1, 'principal', principal, 'node', node, 'done', '')
if ttl then
  call('ZADD', P .. 'task:ends', int(NOW + ttl), task)
end
if account ~= '' then
  call('ZADD', own, '+inf', task)
  if account ~= principal then
    call('HSET', P .. 't:' .. task, 'account', account)
  end
end
sum('all', 1)
sum('bytes', size)
sum_of(account, 'bytes', size)
call('SADD', P .. 'task:by:' .. node, task)
call('SADD', P .. 'nodes:' .. string.sub(node, 1, 12), node)
if string.sub(node, 1, 12) == PROCESS then
  alive()
end
return remember(done())
