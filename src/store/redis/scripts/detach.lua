-- Detach: removes a reader. Nothing happens if it is no longer the current one.
if not open(arg(1)) then
  return rejected(NOT_FOUND)
end
local stream, generation, node, token = arg(2), arg(3), arg(4), arg(5)
local log = log_of(stream)
if generation == '' then
  mark_undone(token)
end
-- A reader that never received its generation is identified by its token.
local present = log and log[READER] ~= '' and
  (generation == int(log[GENERATION]) or (generation == '' and log[READER] == node and log[CAME] == token))
if present then
  allow_writes()
  s.readers = s.readers - 1
  release_hold(log[READER])
  log[READER] = ''
  save_log(stream, log)
  wake_owner(stream, log)
  save(true)
end
return done()
