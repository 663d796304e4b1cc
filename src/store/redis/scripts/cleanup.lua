-- Cleanup of a node that is gone, a limited number of sessions at a time. Its readers detach, its
-- calls end with an error after what they had streamed, and its tasks are orphaned. Included before
-- the scripts that report lost nodes, after log.lua and tasks.lua.
local function give_up_in(node, head, tail)
  local logs = call('HGETALL', P .. 'm:' .. H)
  for at = 1, #logs, 2 do
    local log = cmsgpack.unpack(logs[at + 1])
    if log[READER] == node then
      log[READER] = ''
      s.readers = s.readers - 1
      release_hold(node)
      save_log(logs[at], log)
    end
  end
  local rows = call('HGETALL', P .. 'c:' .. H)
  for at = 1, #rows, 2 do
    local row, stream = cmsgpack.unpack(rows[at + 1]), rows[at]
    if row[1] == node then
      local log = log_of(stream)
      if log and not log[CLOSED] then
        for _, id in ipairs(row[3]) do
          push(stream, log, true, head .. id .. tail)
        end
        -- Place -1 never matches, so a later append of its owner is no repetition of this.
        close(stream, log, -1)
        wake_reader(stream, log)
        save_log(stream, log)
      end
      release(stream)
    end
  end
  -- No handler waits for the client requests of this node on the standalone stream any more.
  local requests = call('HGETALL', P .. 'q:' .. H)
  for at = 1, #requests, 2 do
    local request = cmsgpack.unpack(requests[at + 1])
    if request[3] == node then
      forget_request(requests[at], request)
      settle(request[1], request[2])
    end
  end
  save(true)
end

-- The list of lost nodes is not stored indefinitely. A day is long enough for a process that comes
-- back.
local function expire_departures(process)
  call('EXPIRE', P .. 'left:' .. process, 86400)
end

-- Returns `true` if nothing of the node is left.
local function give_up(node, head, tail, most)
  for _, session in ipairs(call('SRANDMEMBER', P .. 'in:' .. node, most)) do
    if open(session) then
      give_up_in(node, head, tail)
    end
    call('SREM', P .. 'in:' .. node, session)
  end
  if call('EXISTS', P .. 'in:' .. node) == 1 then
    return false
  end
  for _, task in ipairs(call('SMEMBERS', P .. 'task:by:' .. node)) do
    orphan(task)
    signal_all('T' .. task)
  end
  call('UNLINK', P .. 'task:by:' .. node)
  call('SREM', P .. 'nodes:' .. string.sub(node, 1, 12), node)
  return true
end
