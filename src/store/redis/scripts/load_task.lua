-- Load task: returns a task to its principal, and whether a node still runs it.
local more = expire_tasks()
local row = call('HMGET', P .. 't:' .. arg(1), 'document', 'version', 'principal', 'node', 'done')
if not row[1] or row[3] ~= arg(2) or (more and is_over(arg(1))) then
  return rejected(NOT_FOUND)
end
local ended = row[5] ~= ''
return done(row[1], tonumber(row[2]), ended and 1 or 0, not ended and is_lost(row[4]) and 1 or 0)
