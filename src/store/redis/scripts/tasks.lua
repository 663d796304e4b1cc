-- Tasks: the counts of tasks, their expiry and their eviction. Included before the scripts that use
-- tasks, after common.lua.
--
--   t:<task>            hash  document, its size, version, principal, node, done (its place in the order
--                             of completion), account (its peer's, if it has no principal)
--   task:ends           zset  tasks by when they expire
--   task:idle           zset  tasks that no node runs: orphans, then completed ones in the order of
--                             completion
--   task:of:<account>   zset  its tasks: those that no node runs in that order, the others at the end
--   task:by:<node>      set   tasks that a node runs
--   task:sums           hash  all, bytes, idle_bytes, ever_done
--   task:sums:<account> hash  bytes, idle_bytes of its tasks
local function sum(name, by)
  return call('HINCRBY', P .. 'task:sums', name, int(by))
end

local function total(name)
  return tonumber(call('HGET', P .. 'task:sums', name) or 0)
end

-- Counts for an account; an empty account is not counted.
local function sum_of(account, name, by)
  if account ~= '' and by ~= 0 then
    call('HINCRBY', P .. 'task:sums:' .. account, name, int(by))
  end
end

local function total_of(account, name)
  return tonumber(call('HGET', P .. 'task:sums:' .. account, name) or 0)
end

-- Sets the place of a task among those that no node runs, or removes it from them.
local function rest(task, account, size, place)
  if call('ZREM', P .. 'task:idle', task) == 1 then
    sum('idle_bytes', -size)
    sum_of(account, 'idle_bytes', -size)
  end
  if place then
    call('ZADD', P .. 'task:idle', place, task)
    sum('idle_bytes', size)
    sum_of(account, 'idle_bytes', size)
  end
  if account ~= '' then
    call('ZADD', P .. 'task:of:' .. account, place or '+inf', task)
  end
end

local function remove_task(task)
  local row = call('HMGET', P .. 't:' .. task, 'principal', 'node', 'size', 'account')
  if not row[1] then
    -- The task no longer exists; only its name is removed.
    if call('ZREM', P .. 'task:ends', task) + call('ZREM', P .. 'task:idle', task) > 0 then
      sum('all', -1)
    end
    return
  end
  local size, account = tonumber(row[3]), row[4] or row[1]
  rest(task, account, size, nil)
  call('UNLINK', P .. 't:' .. task)
  call('ZREM', P .. 'task:ends', task)
  call('SREM', P .. 'task:by:' .. row[2], task)
  sum('bytes', -size)
  if account ~= '' then
    call('ZREM', P .. 'task:of:' .. account, task)
    sum_of(account, 'bytes', -size)
    if call('ZCARD', P .. 'task:of:' .. account) == 0 then
      call('UNLINK', P .. 'task:sums:' .. account)
    end
  end
  if sum('all', -1) <= 0 then
    call('HDEL', P .. 'task:sums', 'all', 'bytes', 'idle_bytes')
  end
  signal_all('T' .. task)
end

-- Removes some expired tasks. Returns `true` if there may be more.
local function expire_tasks()
  local over = call('ZRANGEBYSCORE', P .. 'task:ends', '-inf', int(NOW), 'LIMIT', 0, 64)
  for _, task in ipairs(over) do
    remove_task(task)
  end
  return #over == 64
end

-- Returns `true` if a task has expired but still exists.
local function is_over(task)
  local ends = call('ZSCORE', P .. 'task:ends', task)
  return ends and tonumber(ends) <= NOW
end

local function is_lost(node)
  local process = string.sub(node, 1, 12)
  return not call('ZSCORE', P .. 'leases', process) or call('SISMEMBER', P .. 'left:' .. process, node) == 1
end

-- Orphans a task of a lost node. It is evicted before all completed tasks.
local function orphan(task)
  local row = call('HMGET', P .. 't:' .. task, 'principal', 'size', 'account')
  if row[1] then
    rest(task, row[3] or row[1], tonumber(row[2]), 0)
  end
end

-- Removes an orphan, or else the task that completed first. Returns its name, if there was one.
local function forget_one()
  local first = call('ZRANGE', P .. 'task:idle', 0, 0)[1]
  if first then
    remove_task(first)
  end
  return first
end

-- Returns `true` if a document fits in place of one of a running task, once all tasks that no node
-- runs are evicted.
local function could_grow(old, new, limit)
  return total('bytes') - total('idle_bytes') - old + new <= limit
end

local function free_capacity(old, new, limit)
  while total('bytes') - old + new > limit and forget_one() do
  end
end

-- The same among the tasks of an account; an empty account has no limit.
local function could_grow_of(account, old, new, limit)
  return account == '' or total_of(account, 'bytes') - total_of(account, 'idle_bytes') - old + new <= limit
end

-- Evicts tasks of an account until `more` tasks fit, and a document in place of another.
local function free_capacity_of(account, more, old, new, limit, limit_of_bytes)
  local own = P .. 'task:of:' .. account
  while account ~= '' and (call('ZCARD', own) + more > limit or total_of(account, 'bytes') - old + new > limit_of_bytes) do
    local first = call('ZRANGEBYSCORE', own, '-inf', '(+inf', 'LIMIT', 0, 1)[1]
    if not first then
      return
    end
    remove_task(first)
    call('ZREM', own, first)
  end
end
