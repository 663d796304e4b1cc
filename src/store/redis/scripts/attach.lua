-- Attach: makes a node the reader of a stream, and says from where it reads. A repetition with the
-- same token is the same reader.
if not open_as(arg(1), arg(2)) then
  return rejected(NOT_FOUND)
end
if was_undone() then
  return rejected(FENCED)
end
local stream, node, after, takeover = arg(3), arg(4), number(5), arg(6) == '1'
local limit, retry = number(7), arg(8)
local log = log_in_flight(stream)
local newest, is_first = stream == '0' and tonumber(call('GET', P .. 'announced') or 0) or 0, false
if not log and stream == '0' then
  -- Announcements from before the stream was first opened are not delivered.
  log, s.told, is_first = new_log(''), newest, true
end

local function rejected_after_use(kind)
  save(true)
  return rejected(kind)
end

if not log then
  return rejected_after_use(NOT_FOUND)
end
after = after or log[GIVEN]
if log[READER] == node and log[CAME] == TOKEN then
  return done(log[GENERATION], after, s.told, newest, s.rev)
end
local held = log[READER] ~= ''
if held and not takeover then
  return rejected_after_use(CONFLICT)
end
if not held and s.readers >= limit then
  return rejected_after_use(FULL)
end
if after >= log[NEXT] then
  return rejected_after_use(BEYOND_END)
end
if held then
  -- The replaced client may still be alive and come back.
  request_detach(stream, log, retry)
  release_hold(log[READER])
else
  s.readers = s.readers + 1
end
hold(node)
log[READER], log[CAME], log[GENERATION] = node, TOKEN, log[GENERATION] + 1
save_log(stream, log)
if is_first then
  call('HSET', P .. 's:' .. H, 'told', int(newest))
end
save(true)
return done(log[GENERATION], after, s.told, newest, s.rev)
