-- Cancel: marks the call in flight that has an id as cancelled. An id of several calls cancels
-- none.
if not open(arg(1)) then
  return rejected(NOT_FOUND)
end
allow_writes()
save(true)
local rows = call('HGETALL', P .. 'c:' .. H)
local found, place, several
for at = 1, #rows, 2 do
  local row = cmsgpack.unpack(rows[at + 1])
  for index, id in ipairs(row[4]) do
    if id == arg(2) then
      several = several or found
      found, place = rows[at], index
    end
  end
end
if not found or several then
  return done(0)
end
local row = row_of(found)
for index in ipairs(row[3]) do
  row[5][index] = row[5][index] or index == place
end
row[6] = true
call('HSET', P .. 'c:' .. H, found, cmsgpack.pack(row))
signal(row[1], 'C' .. H .. ' ' .. found .. ' ' .. row[3][place])
return done(1)
