-- The ledger: Redis holds progress, storage holds the truth. One call is one transition, and each is idempotent.
--
-- Keys, all below the namespace ("trace-ocr:" by default):
--   jobs                 sorted set   job id -> created_at (Unix seconds)
--   unended              set          job ids that have not ended, so that who watches all jobs reads only these;
--                                     a hint: jobs of older versions enter it with their next state
--   finished             list         job ids whose last chunk was just marked; control pops them
--   submitted            list         job ids that control must plan or re-send; its planners pop them
--   submitted:urgent     list         the same for urgent jobs; popped first
--   line                 set          job ids with chunks that are ready and not sent; a hint, which ready renews
--   job:<id>             hash         workspace, kind, status, created_at, items_planned, chunks_planned,
--                                     items_total, chunks_total (both once planned), chunks_done,
--                                     completed, failed, updated_at (something happened to the job; looking at it
--                                     does not count), planned_at, <status>_at, error, source,
--                                     submissions (times opened), words (tags and metadata, as JSON), chunks_ready
--                                     (control may send the chunks below this number), chunks_sent (those below it
--                                     were sent or were done; without it, as older versions leave it, all planned
--                                     ones), chunk_seconds and chunks_timed (what read chunks took, and how many),
--                                     count_id (another one whenever the counts begin again: what is done must
--                                     then be looked for in storage), and what ORDER names
--   job:<id>:reserved    string       the workspace that the id is kept for, until the job is opened; expires
--   job:<id>:done        bitmap       bit n is set once chunk n's part is durable
--   job:<id>:attempts    hash         chunk -> runs begun, removed when the chunk is done
--   job:<id>:unread      hash         chunk -> runs in a row that left no trace after they began: their process died
--                                     before it had read an item; removed when an item is read, or the run is handed back
--   job:<id>:running     hash         chunk -> "<items read> <unix seconds> <worker>", removed when the chunk is done
--   job:<id>:rate        list         "<unix seconds> <items> <worker>" of the newest marks, newest first
--   job:<id>:stages      hash         stage -> seconds, summed over chunks
--   job:<id>:errors      list         the newest failed items as JSON, newest first
--   job:<id>:codes       hash         error code -> failed items; an item that a retry fails again counts twice until
--                                     the merge
--
-- Only open writes to a job that Redis lost (no status): it registers the job again. The reconciler then marks
-- every chunk whose part exists. Storage is right: where the counts contradict it, control starts them again (recount).
--
-- The Python side prepends the tables of contract/states.py:
--   TRANSITIONS[event][state]  the state after the event; nil if the event changes nothing
--   INITIAL                    the state of a new job
--   ENDED[state]               true if the job has ended
--   CLAIMABLE[state]           true if workers start the job's chunks
-- and, from contract/broker/line.py, ORDER: the fields of the record that say when the job's turn comes.
--
-- ARGV[1] is the transition, ARGV[2] the job id, ARGV[3] the time; KEYS[1] is the prefix.

local transition, job, now = ARGV[1], ARGV[2], ARGV[3]
local prefix = KEYS[1]
local record = prefix .. "job:" .. job
local RATE_LENGTH = 64  -- marks kept for the throughput: about a minute at one mark a second
local ERRORS_LENGTH = 20  -- failed items kept for display; errors.jsonl has them all
local PARTS = { ":done", ":attempts", ":unread", ":running", ":rate", ":stages", ":errors", ":codes" }

local function status() return redis.call("HGET", record, "status") end

local function set_status(value)
  redis.call(ENDED[value] and "SREM" or "SADD", prefix .. "unended", job)
  redis.call("HSET", record, "status", value, value .. "_at", now, "updated_at", now)
end

-- Applies the event to the job's state; returns false if the table has no such transition.
local function move(event)
  local target = TRANSITIONS[event][status()]
  if not target then return false end
  set_status(target)
  return true
end

-- Whether the job was opened again since the caller has seen this many submissions ("" for any).
local function submitted_since(seen)
  return seen ~= "" and (redis.call("HGET", record, "submissions") or "0") ~= seen
end

-- Sets fields of the record; returns whether that changed any.
local function set_if_changed(...)
  local changed, pairs_of = false, { ... }
  for i = 1, #pairs_of, 2 do
    if redis.call("HGET", record, pairs_of[i]) ~= pairs_of[i + 1] then
      redis.call("HSET", record, pairs_of[i], pairs_of[i + 1])
      changed = true
    end
  end
  return changed
end

local function finalize_if_done()
  local total = redis.call("HGET", record, "chunks_total")
  if not total or tonumber(redis.call("HGET", record, "chunks_done") or "0") < tonumber(total) then return 0 end
  if not move("drain") then return 0 end
  redis.call("RPUSH", prefix .. "finished", job)
  return 1
end

local function count(field) return tonumber(redis.call("HGET", record, field) or "0") end

local function grow(field, value)
  if tonumber(value) > count(field) then redis.call("HSET", record, field, value) end
end

-- Chunks below this number are looked for by the reconciler; control sends those from it on.
local function sent() return tonumber(redis.call("HGET", record, "chunks_sent")) or count("chunks_planned") end

-- Enters the job in the line, or removes it, so that control sends its chunks.
local function queue_up()
  local waits = CLAIMABLE[status()] and sent() < count("chunks_ready")
  redis.call(waits and "SADD" or "SREM", prefix .. "line", job)
end

-- The first chunk from a number on that is not done.
local function undone_from(chunk)
  while redis.call("GETBIT", record .. ":done", chunk) == 1 do
    chunk = chunk + 1
    -- BITPOS takes whole bytes; behind the last one it finds nothing, and all chunks are undone.
    if chunk % 8 == 0 then return math.max(chunk, redis.call("BITPOS", record .. ":done", 0, chunk / 8)) end
  end
  return chunk
end

local transitions = {}

-- The workspace that the id belongs to, or is kept for.
local function owner()
  return redis.call("HGET", record, "workspace") or redis.call("GET", record .. ":reserved")
end

-- ARGV: workspace, seconds. Keeps the id for a workspace before anything is written there.
function transitions.reserve()
  local known = owner()
  if known and known ~= ARGV[4] then return { 0, known } end
  redis.call("SET", record .. ":reserved", ARGV[4], "EX", ARGV[5])
  return { 1, ARGV[4] }
end

-- ARGV: workspace. Undoes reserve.
function transitions.withdraw()
  if redis.call("GET", record .. ":reserved") ~= ARGV[4] then return 0 end
  return redis.call("DEL", record .. ":reserved")
end

-- ARGV: workspace, kind, source, created_at, words, count_id, then fields and values that say when the job's turn comes.
-- Registers the job, or reopens a halted, ended or lost one. Nothing of an ended job is kept, since its workspace may have
-- changed: its parts are marked again. No chunk counts as sent: workers drop the messages of a job that does not run.
function transitions.open()
  local known, current = owner(), status()
  if known and known ~= ARGV[4] then return { 0, known } end
  redis.call("DEL", record .. ":reserved")
  local submissions = tonumber(redis.call("HGET", record, "submissions") or "0") + 1
  if not current or ENDED[current] then
    redis.call("DEL", record)
    for _, part in ipairs(PARTS) do redis.call("DEL", record .. part) end
  end
  redis.call("ZADD", prefix .. "jobs", ARGV[7], job)
  redis.call("HSET", record, "workspace", ARGV[4], "kind", ARGV[5], "source", ARGV[6], "created_at", ARGV[7],
    "planned_at", now, "submissions", submissions, "words", ARGV[8] or "{}", "count_id", ARGV[9] or "",
    "chunks_ready", 0, "chunks_sent", 0)
  redis.call("HDEL", record, unpack(ORDER))
  if #ARGV > 9 then redis.call("HSET", record, unpack(ARGV, 10)) end
  local target = INITIAL
  if current then target = TRANSITIONS.open[current] end
  if target then set_status(target) end
  return { 1, ARGV[4] }
end

-- ARGV: chunks, items planned so far, 1 if the caller sends each of these chunks itself. Counts only grow, so a
-- repeated or late call changes nothing.
function transitions.planned()
  if not status() then return 0 end
  grow("chunks_planned", ARGV[4])
  grow("items_planned", ARGV[5])
  if ARGV[6] == "1" then
    grow("chunks_sent", ARGV[4])
    queue_up()
  end
  redis.call("HSET", record, "updated_at", now, "planned_at", now)
  move("plan")
  return 1
end

-- ARGV: total chunks, total items. A round of retries adds chunks, even to a job that is about to be merged: it
-- then runs again. A call from before that round changes nothing. Returns 1 to the one caller whose call completes
-- the job. Control repeats the call at every look, so only a change is a sign of life.
function transitions.plan_done()
  if not status() then return 0 end
  if tonumber(ARGV[4]) < tonumber(redis.call("HGET", record, "chunks_total") or "0") then return 0 end
  if set_if_changed("chunks_total", ARGV[4], "items_total", ARGV[5],
      "chunks_planned", ARGV[4], "items_planned", ARGV[5]) then
    redis.call("HSET", record, "updated_at", now)
  end
  local undone = tonumber(redis.call("HGET", record, "chunks_done") or "0") < tonumber(ARGV[4])
  move("plan")
  if undone then move("grow") end
  return finalize_if_done()
end

-- ARGV: chunks. Control may send those below this number: they exist, and what is done of them is marked.
function transitions.ready()
  if not status() then return 0 end
  grow("chunks_ready", ARGV[4])
  queue_up()
  return 1
end

-- ARGV: how many. Returns the next chunks that are ready and not done, for the caller to send. It counts them as sent
-- at once, so that no other caller gets them; if this one dies, the reconciler finds no message.
function transitions.feed()
  local chunks = {}
  if not CLAIMABLE[status()] then
    redis.call("SREM", prefix .. "line", job)
    return chunks
  end
  local ready, chunk = count("chunks_ready"), undone_from(sent())
  while chunk < ready and #chunks < tonumber(ARGV[4]) do
    chunks[#chunks + 1] = chunk
    chunk = undone_from(chunk + 1)
  end
  redis.call("HSET", record, "chunks_sent", math.max(sent(), math.min(chunk, ready)))
  queue_up()
  return chunks
end

-- ARGV: how many. Returns the first chunks that were sent and are not done.
function transitions.in_flight()
  local chunks, below, chunk = {}, sent(), undone_from(0)
  while chunk < below and #chunks < tonumber(ARGV[4]) do
    chunks[#chunks + 1] = chunk
    chunk = undone_from(chunk + 1)
  end
  return chunks
end

-- ARGV: chunk, worker. Returns {status, attempt, unread}; attempt 0 means that the chunk is done already, -1 that the
-- job does not run now. A job that Redis lost is "unknown": the worker registers it again from its workspace.
function transitions.begin()
  local chunk, current = ARGV[4], status()
  if not current then return { "unknown", -1, 0 } end
  if redis.call("GETBIT", record .. ":done", chunk) == 1 then return { current, 0, 0 } end
  if not CLAIMABLE[current] then return { current, -1, 0 } end
  local before = redis.call("HGET", record .. ":running", chunk)
  if before and string.sub(before, 1, 2) == "0 " then redis.call("HINCRBY", record .. ":unread", chunk, 1) end
  redis.call("HSET", record .. ":running", chunk, "0 " .. now .. " " .. ARGV[5])
  redis.call("HSET", record, "updated_at", now)
  local unread = tonumber(redis.call("HGET", record .. ":unread", chunk) or "0")
  return { current, redis.call("HINCRBY", record .. ":attempts", chunk, 1), unread }
end

-- ARGV: chunk, items read, worker. A running chunk's progress, which is also its heartbeat.
function transitions.progress()
  if redis.call("HEXISTS", record .. ":running", ARGV[4]) == 0 then return 0 end
  redis.call("HSET", record .. ":running", ARGV[4], ARGV[5] .. " " .. now .. " " .. ARGV[6])
  if ARGV[5] ~= "0" then redis.call("HDEL", record .. ":unread", ARGV[4]) end
  redis.call("HSET", record, "updated_at", now)
  return 1
end

-- ARGV: chunk. The chunk goes back to the queue; this run does not count as an attempt.
function transitions.hand_back()
  if redis.call("HEXISTS", record .. ":running", ARGV[4]) == 0 then return 0 end
  redis.call("HDEL", record .. ":running", ARGV[4])
  redis.call("HDEL", record .. ":unread", ARGV[4])
  return redis.call("HINCRBY", record .. ":attempts", ARGV[4], -1)
end

-- ARGV: chunk, completed, failed, items already counted as failed, worker, seconds ("" if unknown), number of stages,
-- number of error codes, then each stage's name and seconds, each code and its failed items, then failed items as JSON.
-- Returns {counted, finished}: each is 1 for exactly one caller.
function transitions.mark()
  local chunk = ARGV[4]
  if not status() or ENDED[status()] then return { 0, 0 } end
  for _, part in ipairs({ ":running", ":attempts", ":unread" }) do redis.call("HDEL", record .. part, chunk) end
  if redis.call("SETBIT", record .. ":done", chunk, 1) == 1 then return { 0, 0 } end
  redis.call("HINCRBY", record, "chunks_done", 1)
  redis.call("HINCRBY", record, "completed", ARGV[5])
  redis.call("HINCRBY", record, "failed", tonumber(ARGV[6]) - tonumber(ARGV[7]))
  redis.call("HSET", record, "updated_at", now)
  redis.call("LPUSH", record .. ":rate", now .. " " .. (tonumber(ARGV[5]) + tonumber(ARGV[6])) .. " " .. ARGV[8])
  redis.call("LTRIM", record .. ":rate", 0, RATE_LENGTH - 1)
  if ARGV[9] ~= "" then
    redis.call("HINCRBYFLOAT", record, "chunk_seconds", ARGV[9])
    redis.call("HINCRBY", record, "chunks_timed", 1)
  end
  local first_code = 12 + 2 * tonumber(ARGV[10])
  local first_error = first_code + 2 * tonumber(ARGV[11])
  for i = 12, first_code - 1, 2 do redis.call("HINCRBYFLOAT", record .. ":stages", ARGV[i], ARGV[i + 1]) end
  for i = first_code, first_error - 1, 2 do redis.call("HINCRBY", record .. ":codes", ARGV[i], ARGV[i + 1]) end
  for i = first_error, #ARGV do redis.call("LPUSH", record .. ":errors", ARGV[i]) end
  redis.call("LTRIM", record .. ":errors", 0, ERRORS_LENGTH - 1)
  return { 1, finalize_if_done() }
end

-- ARGV: submissions that the caller has seen ("" for any), count_id, how many chunks are done, from the first on,
-- completed, failed, number of error codes, then each code and its failed items, then failed items as JSON, newest
-- first. Replaces the job's counts, which contradict its workspace; its plan
-- and its other parts are noted again by plan_done and mark.
function transitions.recount()
  if not status() or ENDED[status()] or submitted_since(ARGV[4]) then return 0 end
  redis.call("DEL", record .. ":done", record .. ":errors", record .. ":codes")
  redis.call("HDEL", record, "chunks_total", "items_total", "chunks_planned", "items_planned", "chunks_ready")
  redis.call("HSET", record, "count_id", ARGV[5], "chunks_done", ARGV[6], "completed", ARGV[7], "failed", ARGV[8])
  local bytes = math.floor(tonumber(ARGV[6]) / 8)
  if bytes > 0 then redis.call("SETRANGE", record .. ":done", 0, string.rep("\255", bytes)) end
  for chunk = 8 * bytes, tonumber(ARGV[6]) - 1 do redis.call("SETBIT", record .. ":done", chunk, 1) end
  local first_error = 10 + 2 * tonumber(ARGV[9])
  for i = 10, first_error - 1, 2 do redis.call("HSET", record .. ":codes", ARGV[i], ARGV[i + 1]) end
  for i = first_error, #ARGV do redis.call("RPUSH", record .. ":errors", ARGV[i]) end
  redis.call("LTRIM", record .. ":errors", 0, ERRORS_LENGTH - 1)
  return 1
end

-- ARGV: event (pause, cancel), submissions that the caller has seen ("" for any). Workers skip the job's messages
-- from now on; running chunks still end.
function transitions.hold()
  if not status() or submitted_since(ARGV[5]) then return 0 end
  local moved = move(ARGV[4])
  queue_up()
  return moved and 1 or 0
end

-- Removes the job from the index if Redis has forgotten its record; in one call, so that no job that is opened
-- meanwhile is removed.
function transitions.unlist()
  if redis.call("EXISTS", record) == 1 then return 0 end
  redis.call("SREM", prefix .. "line", job)
  redis.call("SREM", prefix .. "unended", job)
  return redis.call("ZREM", prefix .. "jobs", job)
end

-- ARGV: event (complete, fail, stop), message, retention in seconds, submissions that the caller has seen ("" for
-- any). Ends the job; it expires after the retention. If it was submitted again since the caller looked, it does not
-- end and goes to the finished list instead.
function transitions.finish()
  if not status() or not TRANSITIONS[ARGV[4]][status()] then return 0 end
  if submitted_since(ARGV[7]) then
    redis.call("RPUSH", prefix .. "finished", job)
    return 0
  end
  move(ARGV[4])
  queue_up()
  if ARGV[5] ~= "" then redis.call("HSET", record, "error", ARGV[5]) end
  redis.call("EXPIRE", record, ARGV[6])
  for _, part in ipairs(PARTS) do redis.call("EXPIRE", record .. part, ARGV[6]) end
  return 1
end

return transitions[transition]()
