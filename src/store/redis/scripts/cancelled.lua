-- Cancelled: lists the ids of a stream's calls in flight that were cancelled.
if not open(arg(1)) then
  return rejected(NOT_FOUND)
end
local row, ids = row_of(arg(2)), {}
if not row then
  return rejected(NOT_FOUND)
end
for place, id in ipairs(row[3]) do
  if row[5][place] then
    ids[#ids + 1] = id
  end
end
return done(ids)
