/**
 * The sliding window of src/runtime/sliding-window.ts inside Redis: one key, one step that nothing comes between, and
 * Redis's own time, so that no process's clock decides anything. Needs Redis 5: older ones may not write after TIME.
 *
 * ARGV: limit, window in ms, how many to take or 0 to look for one. Answers allowed (0 or 1), remaining, ms until the window
 * turns or, for a refused caller, until what was asked for fits again.
 */
export const limiterScript = `
local limit, window, taking = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local asked = math.max(1, taking)
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)

local stored = redis.call('HMGET', KEYS[1], 'start', 'current', 'previous')
local start, current, previous = now, 0, 0
if stored[1] then
  start, current, previous = tonumber(stored[1]), tonumber(stored[2]), tonumber(stored[3])
  -- The machine's clock was set back.
  if now < start then now = start end
  if now - start >= 2 * window then
    start, current, previous = now, 0, 0
  elseif now - start >= window then
    start, current, previous = start + window, 0, current
  end
end

local used = previous * (1 - (now - start) / window) + current
local allowed = used + asked <= limit
local counted = 0
if allowed and taking > 0 then
  counted = taking
  redis.call('HSET', KEYS[1], 'start', string.format('%.0f', start), 'current', current + taking, 'previous', previous)
  redis.call('PEXPIRE', KEYS[1], string.format('%.0f', start + 2 * window - now))
end

local reset = start + window - now
if not allowed then
  if current + asked <= limit and previous > 0 then
    reset = math.max(0, start + (1 - (limit - asked - current) / previous) * window - now)
  else
    reset = reset + math.max(0, 1 - (limit - asked) / current) * window
  end
end
return { allowed and 1 or 0, math.max(0, math.floor(limit - used - counted)), math.ceil(reset) }
`
