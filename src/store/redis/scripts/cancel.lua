-- Decides which call in flight a cancellation means; one that could mean two means none.
if not open(arg(1)) then
  return refused(NOT_FOUND)
end
save(true)
local rows = call('HGETALL', P .. 'c:' .. H)
local found, node, text, several
for at = 1, #rows, 2 do
  local row = cmsgpack.unpack(rows[at + 1])
  for place, id in ipairs(row[4]) do
    if id == arg(2) then
      several = found
      found, node, text = rows[at], row[1], row[3][place]
      if several then
        return done(0)
      end
    end
  end
end
if not found then
  return done(0)
end
ring(node, 'C' .. H .. ' ' .. found .. ' ' .. text)
return done(1)
