-- Decides what a node that is gone leaves behind, a number of sessions at a time: it reads nothing, its
-- calls end with an error after what they had streamed, its tasks are orphans. Stands before the
-- scripts that say who is gone, after log.lua and tasks.lua.
local function give_up_in(node, head, tail)
  local logs = call('HGETALL', P .. 'm:' .. H)
  for at = 1, #logs, 2 do
    local log = cmsgpack.unpack(logs[at + 1])
    if log[READER] == node then
      log[READER] = ''
      s.readers = s.readers - 1
      let_go(node)
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
        -- At no place: what its owner says later is no repetition of this.
        close(stream, log, -1)
        wake_reader(stream, log)
        save_log(stream, log)
      end
      release(stream)
    end
  end
  -- What it asked on the standalone stream is waited for by nobody.
  local questions = call('HGETALL', P .. 'q:' .. H)
  for at = 1, #questions, 2 do
    local question = cmsgpack.unpack(questions[at + 1])
    if question[3] == node then
      forget_question(questions[at], question)
      settle(question[1], question[2])
    end
  end
  save(true)
end

-- Nobody has to know for ever that its nodes are gone. A day is long enough for one that comes back.
local function bury(process)
  call('EXPIRE', P .. 'left:' .. process, 86400)
end

-- Whether that was all of it.
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
    ring_all('T' .. task)
  end
  call('UNLINK', P .. 'task:by:' .. node)
  call('SREM', P .. 'nodes:' .. string.sub(node, 1, 12), node)
  return true
end
