-- States: returns the values of a session's state whose keys have a prefix, each with key and
-- version. Values of a known version are left out. A session has few keys, so all of them are
-- examined.
if not open(arg(1)) then
  return rejected(NOT_FOUND)
end
local prefix, known, found = arg(2), {}, {}
for at = 3, #ARGV - 5, 2 do
  known[arg(at)] = arg(at + 1)
end
for _, key in ipairs(call('HKEYS', P .. 'v:' .. H)) do
  if string.sub(key, 1, #prefix) == prefix then
    local row = call('HGET', P .. 'v:' .. H, key)
    local at = string.find(row, ' ', 1, true)
    local version = string.sub(row, 1, at - 1)
    if version ~= known[key] then
      found[#found + 1] = key
      found[#found + 1] = version
      found[#found + 1] = string.sub(row, at + 1)
    end
  end
end
return done(found)
