-- The ledger: Redis as progress, not as truth. One call is one transition, and each may be repeated.
--
-- Keys, all below the namespace ("trace-ocr:" by default):
--   jobs                 sorted set   job id -> created_at (Unix seconds)
--   finished             list         job ids whose last chunk was just marked; control pops them
--   submitted            list         job ids that control is to plan or send anew; its planners pop them
--   job:<id>             hash         workspace, kind, status, created_at, items_planned, chunks_planned,
--                                     items_total, chunks_total (both once planned), chunks_done,
--                                     completed, failed, updated_at, planned_at, <status>_at, error, source,
--                                     submissions (times opened)
--   job:<id>:done        bitmap       bit n is set once chunk n's part is durable
--   job:<id>:attempts    hash         chunk -> runs begun, removed when the chunk is done
--   job:<id>:running     hash         chunk -> "<items read> <unix seconds> <worker>", removed likewise
--   job:<id>:rate        list         "<unix seconds> <items> <worker>" of the newest marks, newest first
--   job:<id>:stages      hash         stage -> seconds, summed over chunks
--   job:<id>:errors      list         the newest failed items as JSON, newest first
--
-- A job that Redis lost (no status) is not written to, except by open, which enters it again; the reconciler
-- then marks every chunk whose part exists.
--
-- Before this text, the Python side puts what contract/states.py says of a job's states:
--   TRANSITIONS[event][state]  the state after the event; nil where the event changes nothing
--   INITIAL                    the state of a job that is opened and not known
--   ENDED[state]               true if the job has ended
--   CLAIMABLE[state]           true if workers take up the job's chunks
--
-- ARGV[1] is the transition, ARGV[2] the job id, ARGV[3] the time; KEYS[1] is the prefix.

local transition, job, now = ARGV[1], ARGV[2], ARGV[3]
local prefix = KEYS[1]
local record = prefix .. "job:" .. job
local RATE_LENGTH = 64  -- marks kept for the throughput; at a mark a second, about a minute
local ERRORS_LENGTH = 20  -- failed items kept, for a first look; errors.jsonl has them all
local PARTS = { ":done", ":attempts", ":running", ":rate", ":stages", ":errors" }

local function status() return redis.call("HGET", record, "status") end

local function set_status(value)
  redis.call("HSET", record, "status", value, value .. "_at", now, "updated_at", now)
end

-- Moves the job as the event does; returns false where the table has no such transition.
local function move(event)
  local target = TRANSITIONS[event][status()]
  if not target then return false end
  set_status(target)
  return true
end

local function finalize_if_done()
  local total = redis.call("HGET", record, "chunks_total")
  if not total or tonumber(redis.call("HGET", record, "chunks_done") or "0") < tonumber(total) then return 0 end
  if not move("drain") then return 0 end
  redis.call("RPUSH", prefix .. "finished", job)
  return 1
end

local transitions = {}

-- ARGV: workspace, kind, source, created_at. Registers the job, or takes up a halted, ended or lost one again;
-- of an ended one nothing is kept, since its workspace may have changed: its parts are marked anew.
function transitions.open()
  local known, current = redis.call("HGET", record, "workspace"), status()
  if known and known ~= ARGV[4] then return { 0, known } end
  local submissions = tonumber(redis.call("HGET", record, "submissions") or "0") + 1
  if ENDED[current] then
    redis.call("DEL", record)
    for _, part in ipairs(PARTS) do redis.call("DEL", record .. part) end
  end
  redis.call("ZADD", prefix .. "jobs", ARGV[7], job)
  redis.call("HSET", record, "workspace", ARGV[4], "kind", ARGV[5], "source", ARGV[6], "created_at", ARGV[7],
    "planned_at", now, "submissions", submissions)
  local target = INITIAL
  if current then target = TRANSITIONS.open[current] end
  if target then set_status(target) end
  return { 1, ARGV[4] }
end

-- ARGV: chunks, items planned so far. Counts only grow, so a repeated or late call changes nothing.
function transitions.planned()
  if not status() then return 0 end
  local function grow(field, value)
    if tonumber(value) > tonumber(redis.call("HGET", record, field) or "0") then
      redis.call("HSET", record, field, value)
    end
  end
  grow("chunks_planned", ARGV[4])
  grow("items_planned", ARGV[5])
  redis.call("HSET", record, "updated_at", now, "planned_at", now)
  move("plan")
  return 1
end

-- ARGV: chunks, items in all. Chunks grow with a round of retries, also of a job about to be merged, which then
-- goes on; a call that comes from before that round changes nothing. Returns 1 to the one caller whose call
-- completes the job.
function transitions.plan_done()
  if not status() then return 0 end
  if tonumber(ARGV[4]) < tonumber(redis.call("HGET", record, "chunks_total") or "0") then return 0 end
  redis.call("HSET", record, "chunks_total", ARGV[4], "items_total", ARGV[5],
    "chunks_planned", ARGV[4], "items_planned", ARGV[5], "updated_at", now)
  local undone = tonumber(redis.call("HGET", record, "chunks_done") or "0") < tonumber(ARGV[4])
  move("plan")
  if undone then move("grow") end
  return finalize_if_done()
end

-- ARGV: chunk, worker. Returns {status, attempt}; attempt 0 says the chunk is done already, -1 that the job
-- does not run now. A job that Redis lost is "unknown": the worker enters it again from its workspace.
function transitions.begin()
  local chunk, current = ARGV[4], status()
  if not current then return { "unknown", -1 } end
  if redis.call("GETBIT", record .. ":done", chunk) == 1 then return { current, 0 } end
  if not CLAIMABLE[current] then return { current, -1 } end
  redis.call("HSET", record .. ":running", chunk, "0 " .. now .. " " .. ARGV[5])
  return { current, redis.call("HINCRBY", record .. ":attempts", chunk, 1) }
end

-- ARGV: chunk, items read, worker. A running chunk's progress; also its sign of life.
function transitions.progress()
  if redis.call("HEXISTS", record .. ":running", ARGV[4]) == 0 then return 0 end
  redis.call("HSET", record .. ":running", ARGV[4], ARGV[5] .. " " .. now .. " " .. ARGV[6])
  redis.call("HSET", record, "updated_at", now)
  return 1
end

-- ARGV: chunk. The chunk goes back to the queue unharmed, so this run does not count.
function transitions.hand_back()
  if redis.call("HEXISTS", record .. ":running", ARGV[4]) == 0 then return 0 end
  redis.call("HDEL", record .. ":running", ARGV[4])
  return redis.call("HINCRBY", record .. ":attempts", ARGV[4], -1)
end

-- ARGV: chunk, completed, failed, items that were counted as failed before, worker, number of stages, then
-- each stage's name and seconds, then failed items as JSON. Returns {counted, finished}: each is 1 for exactly
-- one caller.
function transitions.mark()
  local chunk = ARGV[4]
  if not status() or ENDED[status()] then return { 0, 0 } end
  redis.call("HDEL", record .. ":running", chunk)
  redis.call("HDEL", record .. ":attempts", chunk)
  if redis.call("SETBIT", record .. ":done", chunk, 1) == 1 then return { 0, 0 } end
  redis.call("HINCRBY", record, "chunks_done", 1)
  redis.call("HINCRBY", record, "completed", ARGV[5])
  redis.call("HINCRBY", record, "failed", tonumber(ARGV[6]) - tonumber(ARGV[7]))
  redis.call("HSET", record, "updated_at", now)
  redis.call("LPUSH", record .. ":rate", now .. " " .. (tonumber(ARGV[5]) + tonumber(ARGV[6])) .. " " .. ARGV[8])
  redis.call("LTRIM", record .. ":rate", 0, RATE_LENGTH - 1)
  local first_error = 10 + 2 * tonumber(ARGV[9])
  for i = 10, first_error - 1, 2 do redis.call("HINCRBYFLOAT", record .. ":stages", ARGV[i], ARGV[i + 1]) end
  for i = first_error, #ARGV do redis.call("LPUSH", record .. ":errors", ARGV[i]) end
  redis.call("LTRIM", record .. ":errors", 0, ERRORS_LENGTH - 1)
  return { 1, finalize_if_done() }
end

-- ARGV: event (pause, cancel). Workers skip the job's messages from now on; running chunks still end.
function transitions.hold()
  return status() and move(ARGV[4]) and 1 or 0
end

-- ARGV: event (complete, fail, stop), message, retention in seconds, submissions that the caller knows of ("" for any). Ends the job;
-- Redis forgets it after the retention. One that was submitted anew since the caller looked is looked at again.
function transitions.finish()
  if not status() or not TRANSITIONS[ARGV[4]][status()] then return 0 end
  if ARGV[7] ~= "" and (redis.call("HGET", record, "submissions") or "0") ~= ARGV[7] then
    redis.call("RPUSH", prefix .. "finished", job)
    return 0
  end
  move(ARGV[4])
  if ARGV[5] ~= "" then redis.call("HSET", record, "error", ARGV[5]) end
  redis.call("EXPIRE", record, ARGV[6])
  for _, part in ipairs(PARTS) do redis.call("EXPIRE", record .. part, ARGV[6]) end
  return 1
end

return transitions[transition]()
