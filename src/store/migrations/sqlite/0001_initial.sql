-- The first version of the tables. Times are whole milliseconds since the Unix epoch, UTC.

-- One row: which database this is.
CREATE TABLE identity (
    id            INTEGER PRIMARY KEY CHECK (id = 1),
    database_id   BLOB    NOT NULL,             -- 16 random bytes; the wrapped keys are bound to it
    created_at    INTEGER NOT NULL,
    sealed_at     INTEGER                       -- when it was moved elsewhere: no operation is done in it any more
) STRICT;

-- The keys that live in the database (K_index, K_audit), each wrapped under every accepted secret key.
CREATE TABLE database_keys (
    name          TEXT    NOT NULL CHECK (name IN ('index', 'audit')),
    key_id        TEXT    NOT NULL,             -- the public id of the secret key that wraps it
    wrapped       BLOB    NOT NULL,
    added_at      INTEGER NOT NULL,             -- the newest is the one that a rotation is about
    PRIMARY KEY (name, key_id)
) STRICT, WITHOUT ROWID;

-- Stand-ins for people and addresses, and what their limits remember.
CREATE TABLE subjects (
    number        INTEGER PRIMARY KEY,          -- in the order in which they came: who asks at the same time is on the same page
    tag           BLOB    NOT NULL,             -- HMAC(K_index, kind, value)
    id            BLOB    NOT NULL,             -- 6 bytes of time, 10 random ones: whatever outlives an otp holds this alone
    kind          TEXT    NOT NULL,
    masked        TEXT    NOT NULL,
    usage         TEXT    NOT NULL,             -- JSON of bounded size: the moments that limits count
    idle_at       INTEGER                       -- from then on the usage decides nothing; NULL: it lasts
) STRICT;
CREATE UNIQUE INDEX subjects_tag ON subjects (tag);
CREATE UNIQUE INDEX subjects_id ON subjects (id);
CREATE INDEX subjects_idle ON subjects (idle_at) WHERE idle_at IS NOT NULL;
-- Few: who opted out, and whose guesses are closed.
CREATE INDEX subjects_lasting ON subjects (id) WHERE idle_at IS NULL;

-- One challenge each. The code is in no column: it is computed from the nonce and the secret key.
CREATE TABLE otps (
    id            INTEGER PRIMARY KEY AUTOINCREMENT,
    "user"        TEXT    NOT NULL,
    phone_number  TEXT    NOT NULL,
    purpose       TEXT    NOT NULL,
    nonce         BLOB    NOT NULL,
    key_id        TEXT    NOT NULL,             -- the public id of the secret key that the code is computed with
    digits        INTEGER NOT NULL,
    created_at    INTEGER NOT NULL,
    expires_at    INTEGER NOT NULL,
    state         TEXT    NOT NULL CHECK (state IN ('active', 'verified', 'superseded', 'locked', 'revoked', 'failed', 'expired')),
    ended_at      INTEGER,
    wrong_guesses INTEGER NOT NULL DEFAULT 0,
    test          INTEGER NOT NULL DEFAULT 0,
    known         INTEGER NOT NULL DEFAULT 0,
    over_at       INTEGER GENERATED ALWAYS AS (coalesce(ended_at, expires_at)) VIRTUAL,   -- what purge counts from
    is_verified   INTEGER GENERATED ALWAYS AS (state = 'verified') VIRTUAL
) STRICT;
-- At most one lives at a time.
CREATE UNIQUE INDEX otps_live ON otps ("user", phone_number, purpose) WHERE state = 'active';
CREATE INDEX otps_phone ON otps (phone_number, purpose, id);
CREATE INDEX otps_user ON otps ("user", id) WHERE "user" <> '';
CREATE INDEX otps_over ON otps (over_at, id);

-- What is written in place of an otp where there is none, so that a wrong code costs the same with and without one: a row with
-- the columns of an otp that change, and as many indexes over them.
CREATE TABLE padding (
    id            INTEGER PRIMARY KEY,
    state         TEXT    NOT NULL,
    ended_at      INTEGER,
    wrong_guesses INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX padding_live ON padding (id) WHERE state = 'active';
CREATE INDEX padding_over ON padding (ended_at, id);
INSERT INTO padding VALUES (0, 'active', NULL, 0);

-- One SMS each. The text of a code's message is not kept.
CREATE TABLE messages (
    id            INTEGER PRIMARY KEY AUTOINCREMENT,
    otp_id        INTEGER REFERENCES otps (id) ON DELETE CASCADE,
    phone_number  TEXT    NOT NULL,
    provider      TEXT    NOT NULL,
    state         TEXT    NOT NULL CHECK (state IN ('scheduled', 'queued', 'sending', 'unknown', 'accepted', 'sent', 'undelivered', 'delivered', 'read', 'failed', 'canceled')),
    provider_id   TEXT,
    error_code    INTEGER,
    error         TEXT,
    segments      INTEGER NOT NULL,
    attempts      INTEGER NOT NULL DEFAULT 0,
    reserved_at   INTEGER NOT NULL,
    expires_at    INTEGER NOT NULL DEFAULT 0,   -- it is not sent after this
    attempt_at    INTEGER,
    due_at        INTEGER,                      -- when the worker has to look at it; NULL: never
    missed_at     INTEGER,
    updated_at    INTEGER NOT NULL,
    endings       TEXT    NOT NULL DEFAULT '{}',
    locale        TEXT,                      -- that was asked for; NULL: the setting's
    country       TEXT    NOT NULL DEFAULT '',  -- that it is counted in, two letters; empty: none
    price         INTEGER NOT NULL DEFAULT 0,   -- reserved, in millionths of a US dollar
    settled       INTEGER,                      -- what it has cost in the end; NULL: not known, so the price stands
    counted       TEXT    NOT NULL DEFAULT 'free' CHECK (counted IN ('known', 'stranger', 'unknown', 'free')),
    pooled        INTEGER NOT NULL DEFAULT 0,   -- it was counted among the countries that are not proven
    "open"        INTEGER NOT NULL DEFAULT 0,   -- neither proven nor failed
    text          BLOB                          -- of a message without a code, sealed, until it is settled
) STRICT;
-- Those without a code.
CREATE INDEX messages_plain_phone ON messages (phone_number, id) WHERE otp_id IS NULL;
CREATE INDEX messages_plain_over ON messages (expires_at, id) WHERE otp_id IS NULL;
CREATE INDEX messages_sealed ON messages (id) WHERE text IS NOT NULL;
CREATE INDEX messages_otp ON messages (otp_id, id);
CREATE INDEX messages_due ON messages (due_at, id) WHERE due_at IS NOT NULL;

-- What became of messages and is not yet in the counts of their country and of everything: the next send takes it in.
CREATE TABLE money_events (
    id            INTEGER PRIMARY KEY,
    scope         TEXT    NOT NULL,             -- whose counts: a country, 'none' for the networks without one; empty: everything
    at            INTEGER NOT NULL,
    kind          TEXT    NOT NULL CHECK (kind IN ('proven', 'failed', 'not_sent', 'priced')),
    reserved_at   INTEGER NOT NULL,
    amount        INTEGER NOT NULL,             -- millionths of a US dollar
    counted       TEXT    NOT NULL,
    pooled        INTEGER NOT NULL
) STRICT;
CREATE INDEX money_events_scope ON money_events (scope, at, id);

-- What became of asks, by the hour of the ask: reports are made from it.
CREATE TABLE sums (
    hour          INTEGER NOT NULL,
    purpose       TEXT    NOT NULL,
    country       TEXT    NOT NULL,
    provider      TEXT    NOT NULL,
    chain         INTEGER NOT NULL,             -- each audit chain has a part of its own, whose lock its operations hold already
    cost          INTEGER NOT NULL,             -- millionths of a US dollar
    why           TEXT    NOT NULL DEFAULT '{}',  -- refusals and failures, by their kinds: {"refused:cooldown": 3, "failed:30003": 1}
    -- Messages by their codes, then what became of them; delivered and verified by how many seconds that took at most.
    new           INTEGER NOT NULL DEFAULT 0,
    unreported    INTEGER NOT NULL DEFAULT 0,
    again         INTEGER NOT NULL DEFAULT 0,
    accepted      INTEGER NOT NULL DEFAULT 0,
    unknown       INTEGER NOT NULL DEFAULT 0,
    delivered_1    INTEGER NOT NULL DEFAULT 0,
    delivered_2    INTEGER NOT NULL DEFAULT 0,
    delivered_3    INTEGER NOT NULL DEFAULT 0,
    delivered_5    INTEGER NOT NULL DEFAULT 0,
    delivered_8    INTEGER NOT NULL DEFAULT 0,
    delivered_13   INTEGER NOT NULL DEFAULT 0,
    delivered_20   INTEGER NOT NULL DEFAULT 0,
    delivered_30   INTEGER NOT NULL DEFAULT 0,
    delivered_60   INTEGER NOT NULL DEFAULT 0,
    delivered_120  INTEGER NOT NULL DEFAULT 0,
    delivered_300  INTEGER NOT NULL DEFAULT 0,
    delivered_600  INTEGER NOT NULL DEFAULT 0,
    delivered_3600 INTEGER NOT NULL DEFAULT 0,
    verified      INTEGER NOT NULL DEFAULT 0,
    verified_1     INTEGER NOT NULL DEFAULT 0,
    verified_2     INTEGER NOT NULL DEFAULT 0,
    verified_3     INTEGER NOT NULL DEFAULT 0,
    verified_5     INTEGER NOT NULL DEFAULT 0,
    verified_8     INTEGER NOT NULL DEFAULT 0,
    verified_13    INTEGER NOT NULL DEFAULT 0,
    verified_20    INTEGER NOT NULL DEFAULT 0,
    verified_30    INTEGER NOT NULL DEFAULT 0,
    verified_60    INTEGER NOT NULL DEFAULT 0,
    verified_120   INTEGER NOT NULL DEFAULT 0,
    verified_300   INTEGER NOT NULL DEFAULT 0,
    verified_600   INTEGER NOT NULL DEFAULT 0,
    verified_3600  INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (hour, purpose, country, provider, chain)
) STRICT;

-- Answers to idempotency keys, kept for 24 hours.
CREATE TABLE replies (
    tag           BLOB    NOT NULL PRIMARY KEY, -- HMAC(K_index, the key)
    fingerprint   BLOB    NOT NULL,             -- of what was asked: the same key for something else is an error
    message_id    INTEGER,
    answer        TEXT,                         -- JSON; NULL while the first one who asked is at work
    created_at    INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX replies_age ON replies (created_at);
CREATE INDEX replies_message ON replies (message_id) WHERE message_id IS NOT NULL;

-- Declared test numbers: nothing is sent to them and their code is fixed.
CREATE TABLE test_numbers (
    phone_number  TEXT    NOT NULL PRIMARY KEY,
    code_tag      BLOB    NOT NULL,             -- HMAC(K_index, the code)
    until         INTEGER NOT NULL,
    added_at      INTEGER NOT NULL,
    added_by      TEXT    NOT NULL
) STRICT, WITHOUT ROWID;

-- What a segment costs, as the provider's price list had it.
CREATE TABLE prices (
    country       TEXT    NOT NULL,             -- ISO 3166, two letters
    channel       TEXT    NOT NULL,             -- sms, whatsapp
    price         INTEGER NOT NULL,             -- millionths of a US dollar
    fetched_at    INTEGER NOT NULL,
    PRIMARY KEY (country, channel)
) STRICT, WITHOUT ROWID;

-- The operator's lists: who gets no messages, and whom the caps against abuse do not hold back.
CREATE TABLE list_entries (
    number        INTEGER PRIMARY KEY,
    "key"         TEXT    NOT NULL,             -- kind and value; of a phone, user or address HMAC(K_index, value)
    list          TEXT    NOT NULL CHECK (list IN ('block', 'allow')),
    kind          TEXT    NOT NULL CHECK (kind IN ('phone', 'prefix', 'country', 'user', 'ip', 'network')),
    shown         TEXT    NOT NULL,
    reason        TEXT    NOT NULL,
    since         INTEGER NOT NULL,
    until         INTEGER,                      -- NULL: until it is removed
    added_by      TEXT    NOT NULL,
    hits          INTEGER NOT NULL,             -- messages that it refused, as far as the audit log has recorded them
    hit_at        INTEGER,
    UNIQUE ("key", list)
) STRICT;
CREATE INDEX list_entries_until ON list_entries (until) WHERE until IS NOT NULL;

-- Access tokens of the REST API, by their tag alone.
CREATE TABLE tokens (
    id            INTEGER PRIMARY KEY AUTOINCREMENT,
    name          TEXT    NOT NULL,
    tag           BLOB    NOT NULL UNIQUE,      -- HMAC(K_index, the token)
    scopes        TEXT    NOT NULL,             -- words with commas between them
    rate          INTEGER NOT NULL,             -- requests per second, of each server
    conversion_unknown INTEGER NOT NULL,        -- its bearer never says whether a code was entered
    "user"        TEXT,                         -- NULL: not bound to a user
    service       INTEGER NOT NULL,
    created_at    INTEGER NOT NULL,
    expires_at    INTEGER,
    revoked_at    INTEGER,
    created_by    TEXT    NOT NULL,
    seal          BLOB    NOT NULL              -- HMAC(K_index, all that decides what it opens): without it the row opens nothing
) STRICT;

-- What somebody has to know: alarms of the guard against SMS pumping, and of the balance.
CREATE TABLE alarms (
    id            INTEGER PRIMARY KEY AUTOINCREMENT,
    kind          TEXT    NOT NULL,
    about         TEXT    NOT NULL,             -- a country, two letters; empty: everything
    since         INTEGER NOT NULL,
    until         INTEGER NOT NULL,
    last_at       INTEGER NOT NULL,
    count         INTEGER NOT NULL,
    cost          INTEGER NOT NULL,             -- millionths of a US dollar
    words         TEXT    NOT NULL,
    newest        INTEGER NOT NULL,             -- of its kind and country: later ones join it while it stands
    acked_at      INTEGER,
    acked_by      TEXT,
    attempts      INTEGER NOT NULL,             -- to deliver it
    due_at        INTEGER,                      -- when to look at its delivery; NULL: never
    sent_at       INTEGER
) STRICT;
CREATE UNIQUE INDEX alarms_newest ON alarms (kind, about) WHERE newest;
CREATE INDEX alarms_until ON alarms (until, id);
CREATE INDEX alarms_due ON alarms (due_at, id) WHERE due_at IS NOT NULL;

-- One row, once somebody asked: the balance at the provider.
CREATE TABLE balance (
    id            INTEGER PRIMARY KEY CHECK (id = 1),
    asked_at      INTEGER NOT NULL,
    amount        INTEGER                       -- millionths of a US dollar; NULL: it did not say
) STRICT;

-- The audit log: a chain of rows. What else there is to a row is generated from its body, so that nothing can disagree with it.
CREATE TABLE audit (
    chain         INTEGER NOT NULL,
    seq           INTEGER NOT NULL,
    body          BLOB    NOT NULL,             -- canonical JSON
    mac           BLOB    NOT NULL,             -- HMAC(K_audit, the mac before it, chain, seq, SHA-256(body))
    at            INTEGER GENERATED ALWAYS AS (json_extract(CAST(body AS TEXT), '$.at')) VIRTUAL,
    actor         TEXT    GENERATED ALWAYS AS (json_extract(CAST(body AS TEXT), '$.actor')) VIRTUAL,
    action        TEXT    GENERATED ALWAYS AS (json_extract(CAST(body AS TEXT), '$.action')) VIRTUAL,
    outcome       TEXT    GENERATED ALWAYS AS (json_extract(CAST(body AS TEXT), '$.outcome')) VIRTUAL,
    subject       TEXT    GENERATED ALWAYS AS (json_extract(CAST(body AS TEXT), '$.subjects[0]')) VIRTUAL,
    PRIMARY KEY (chain, seq)
) STRICT, WITHOUT ROWID;
-- What happened to one phone: the timeline of `show`.
CREATE INDEX audit_subject ON audit (subject, chain, seq) WHERE subject IS NOT NULL;
-- How far each chain has come, apart from its rows.
CREATE TABLE audit_heads (
    chain         INTEGER PRIMARY KEY,
    seq           INTEGER NOT NULL,             -- of its last row; 0: it never had one
    mac           BLOB    NOT NULL,
    pruned_seq    INTEGER NOT NULL,             -- of the last row that was pruned; 0: none was
    pruned_mac    BLOB    NOT NULL,
    chains        INTEGER NOT NULL,             -- how many there are
    seal          BLOB    NOT NULL              -- HMAC(K_audit, all of the above)
) STRICT;
