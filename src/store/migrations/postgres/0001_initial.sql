-- The first version of the tables, in a schema of their own. Times are whole milliseconds since the Unix epoch, UTC.
-- Rows that are changed in place keep room in their page (fillfactor), so that a change moves no index entry.

-- One row: which database this is.
CREATE TABLE smsotp.identity (
    id            bigint  PRIMARY KEY CHECK (id = 1),
    database_id   bytea   NOT NULL CHECK (length(database_id) = 16),    -- random; the wrapped keys are bound to it
    created_at    bigint  NOT NULL,
    sealed_at     bigint                         -- when it was moved elsewhere: no operation is done in it any more
);

-- The keys that live in the database (K_index, K_audit), each wrapped under every accepted secret key.
CREATE TABLE smsotp.database_keys (
    name          text    NOT NULL CHECK (name IN ('index', 'audit')),
    key_id        text    NOT NULL,              -- the public id of the secret key that wraps it
    wrapped       bytea   NOT NULL,
    added_at      bigint  NOT NULL,              -- the newest is the one that a rotation is about
    PRIMARY KEY (name, key_id)
);

-- Stand-ins for people and addresses, and what their limits remember. An operation locks the rows of its subjects, by tag upwards.
CREATE TABLE smsotp.subjects (
    tag           bytea   NOT NULL PRIMARY KEY,  -- HMAC(K_index, kind, value)
    id            bytea   NOT NULL,              -- 6 bytes of time, 10 random ones: whatever outlives an otp holds this alone
    kind          text    NOT NULL,
    masked        text    NOT NULL,
    usage         text    NOT NULL,              -- JSON of bounded size: the moments that limits count
    idle_at       bigint                         -- from then on the usage decides nothing; NULL: it lasts
) WITH (fillfactor = 60, autovacuum_vacuum_scale_factor = 0.02);
CREATE UNIQUE INDEX subjects_id ON smsotp.subjects (id);
CREATE INDEX subjects_idle ON smsotp.subjects (idle_at) WHERE idle_at IS NOT NULL;
-- Few: who opted out, and whose guesses are closed.
CREATE INDEX subjects_lasting ON smsotp.subjects (id) WHERE idle_at IS NULL;

-- One challenge each. The code is in no column: it is computed from the nonce and the secret key.
CREATE TABLE smsotp.otps (
    id            bigint  PRIMARY KEY,
    "user"        text    COLLATE "C" NOT NULL,
    phone_number  text    COLLATE "C" NOT NULL,
    purpose       text    COLLATE "C" NOT NULL,
    nonce         bytea   NOT NULL CHECK (length(nonce) = 16),
    key_id        text    NOT NULL,              -- the public id of the secret key that the code is computed with
    digits        bigint  NOT NULL,
    created_at    bigint  NOT NULL,
    expires_at    bigint  NOT NULL,
    state         text    NOT NULL CHECK (state IN ('active', 'verified', 'superseded', 'locked', 'revoked', 'failed', 'expired')),
    ended_at      bigint,
    wrong_guesses bigint  NOT NULL DEFAULT 0,
    test          boolean NOT NULL DEFAULT false,
    known         boolean NOT NULL DEFAULT false,
    over_at       bigint  GENERATED ALWAYS AS (coalesce(ended_at, expires_at)) STORED,    -- what purge counts from
    is_verified   boolean GENERATED ALWAYS AS (state = 'verified') STORED
) WITH (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.05);
CREATE SEQUENCE smsotp.otp_ids OWNED BY smsotp.otps.id;
-- At most one lives at a time.
CREATE UNIQUE INDEX otps_live ON smsotp.otps ("user", phone_number, purpose) WHERE state = 'active';
CREATE INDEX otps_phone ON smsotp.otps (phone_number, purpose, id);
CREATE INDEX otps_user ON smsotp.otps ("user", id) WHERE "user" <> '';
CREATE INDEX otps_over ON smsotp.otps (over_at, id);

-- What is written in place of an otp where there is none, so that a wrong code costs the same with and without one: a row for each
-- audit chain, under whose lock it is written, with the columns of an otp that change, and as many indexes over them.
CREATE TABLE smsotp.padding (
    id            bigint  PRIMARY KEY,
    state         text    NOT NULL,
    ended_at      bigint,
    wrong_guesses bigint  NOT NULL
) WITH (fillfactor = 25);
CREATE UNIQUE INDEX padding_live ON smsotp.padding (id) WHERE state = 'active';
CREATE INDEX padding_over ON smsotp.padding (ended_at, id);
INSERT INTO smsotp.padding SELECT n, 'active', NULL, 0 FROM generate_series(0, 32) AS n;

-- One SMS each. The text of a code's message is not kept.
CREATE TABLE smsotp.messages (
    id            bigint  PRIMARY KEY,
    otp_id        bigint  REFERENCES smsotp.otps (id) ON DELETE CASCADE,
    phone_number  text    COLLATE "C" NOT NULL,
    provider      text    NOT NULL,
    state         text    NOT NULL CHECK (state IN ('scheduled', 'queued', 'sending', 'unknown', 'accepted', 'sent', 'undelivered', 'delivered', 'read', 'failed', 'canceled')),
    provider_id   text,
    error_code    bigint,
    error         text,
    segments      bigint  NOT NULL,
    attempts      bigint  NOT NULL DEFAULT 0,
    reserved_at   bigint  NOT NULL,
    expires_at    bigint  NOT NULL DEFAULT 0,    -- it is not sent after this
    attempt_at    bigint,
    due_at        bigint,                        -- when the worker has to look at it; NULL: never
    missed_at     bigint,
    updated_at    bigint  NOT NULL,
    endings       text    NOT NULL DEFAULT '{}',
    locale        text,                      -- that was asked for; NULL: the setting's
    country       text    COLLATE "C" NOT NULL DEFAULT '',   -- that it is counted in, two letters; empty: none
    price         bigint  NOT NULL DEFAULT 0,    -- reserved, in millionths of a US dollar
    settled       bigint,                        -- what it has cost in the end; NULL: not known, so the price stands
    counted       text    NOT NULL DEFAULT 'free' CHECK (counted IN ('known', 'stranger', 'unknown', 'free')),
    pooled        boolean NOT NULL DEFAULT false,    -- it was counted among the countries that are not proven
    "open"        boolean NOT NULL DEFAULT false,    -- neither proven nor failed
    text          bytea                              -- of a message without a code, sealed, until it is settled
) WITH (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.05);
CREATE SEQUENCE smsotp.message_ids OWNED BY smsotp.messages.id;
-- Those without a code.
CREATE INDEX messages_plain_phone ON smsotp.messages (phone_number, id) WHERE otp_id IS NULL;
CREATE INDEX messages_plain_over ON smsotp.messages (expires_at, id) WHERE otp_id IS NULL;
CREATE INDEX messages_sealed ON smsotp.messages (id) WHERE text IS NOT NULL;
CREATE INDEX messages_otp ON smsotp.messages (otp_id, id);
CREATE INDEX messages_due ON smsotp.messages (due_at, id) WHERE due_at IS NOT NULL;

-- What became of messages and is not yet in the counts of their country and of everything: the next send takes it in.
CREATE SEQUENCE smsotp.money_event_ids;
CREATE TABLE smsotp.money_events (
    id            bigint  PRIMARY KEY DEFAULT nextval('smsotp.money_event_ids'),
    scope         text    COLLATE "C" NOT NULL,  -- whose counts: a country, 'none' for the networks without one; empty: everything
    at            bigint  NOT NULL,
    kind          text    NOT NULL CHECK (kind IN ('proven', 'failed', 'not_sent', 'priced')),
    reserved_at   bigint  NOT NULL,
    amount        bigint  NOT NULL,              -- millionths of a US dollar
    counted       text    NOT NULL,
    pooled        boolean NOT NULL
) WITH (autovacuum_vacuum_scale_factor = 0.05);
ALTER SEQUENCE smsotp.money_event_ids OWNED BY smsotp.money_events.id;
CREATE INDEX money_events_scope ON smsotp.money_events (scope, at, id);

-- What became of asks, by the hour of the ask: reports are made from it.
CREATE TABLE smsotp.sums (
    hour          bigint  NOT NULL,
    purpose       text    COLLATE "C" NOT NULL,
    country       text    COLLATE "C" NOT NULL,
    provider      text    COLLATE "C" NOT NULL,
    chain         bigint  NOT NULL,             -- each audit chain has a part of its own, whose lock its operations hold already
    cost          bigint  NOT NULL,             -- millionths of a US dollar
    why           text    NOT NULL DEFAULT '{}',  -- refusals and failures, by their kinds: {"refused:cooldown": 3, "failed:30003": 1}
    -- Messages by their codes, then what became of them; delivered and verified by how many seconds that took at most.
    new           bigint  NOT NULL DEFAULT 0,
    unreported    bigint  NOT NULL DEFAULT 0,
    again         bigint  NOT NULL DEFAULT 0,
    accepted      bigint  NOT NULL DEFAULT 0,
    unknown       bigint  NOT NULL DEFAULT 0,
    delivered_1    bigint  NOT NULL DEFAULT 0,
    delivered_2    bigint  NOT NULL DEFAULT 0,
    delivered_3    bigint  NOT NULL DEFAULT 0,
    delivered_5    bigint  NOT NULL DEFAULT 0,
    delivered_8    bigint  NOT NULL DEFAULT 0,
    delivered_13   bigint  NOT NULL DEFAULT 0,
    delivered_20   bigint  NOT NULL DEFAULT 0,
    delivered_30   bigint  NOT NULL DEFAULT 0,
    delivered_60   bigint  NOT NULL DEFAULT 0,
    delivered_120  bigint  NOT NULL DEFAULT 0,
    delivered_300  bigint  NOT NULL DEFAULT 0,
    delivered_600  bigint  NOT NULL DEFAULT 0,
    delivered_3600 bigint  NOT NULL DEFAULT 0,
    verified      bigint  NOT NULL DEFAULT 0,
    verified_1     bigint  NOT NULL DEFAULT 0,
    verified_2     bigint  NOT NULL DEFAULT 0,
    verified_3     bigint  NOT NULL DEFAULT 0,
    verified_5     bigint  NOT NULL DEFAULT 0,
    verified_8     bigint  NOT NULL DEFAULT 0,
    verified_13    bigint  NOT NULL DEFAULT 0,
    verified_20    bigint  NOT NULL DEFAULT 0,
    verified_30    bigint  NOT NULL DEFAULT 0,
    verified_60    bigint  NOT NULL DEFAULT 0,
    verified_120   bigint  NOT NULL DEFAULT 0,
    verified_300   bigint  NOT NULL DEFAULT 0,
    verified_600   bigint  NOT NULL DEFAULT 0,
    verified_3600  bigint  NOT NULL DEFAULT 0,
    PRIMARY KEY (hour, purpose, country, provider, chain)
) WITH (fillfactor = 70);

-- Answers to idempotency keys, kept for 24 hours.
CREATE TABLE smsotp.replies (
    tag           bytea   NOT NULL PRIMARY KEY,  -- HMAC(K_index, the key)
    fingerprint   bytea   NOT NULL,              -- of what was asked: the same key for something else is an error
    message_id    bigint,
    answer        text,                          -- JSON; NULL while the first one who asked is at work
    created_at    bigint  NOT NULL
) WITH (fillfactor = 80);
CREATE INDEX replies_age ON smsotp.replies (created_at);
CREATE INDEX replies_message ON smsotp.replies (message_id) WHERE message_id IS NOT NULL;

-- Declared test numbers: nothing is sent to them and their code is fixed.
CREATE TABLE smsotp.test_numbers (
    phone_number  text    COLLATE "C" NOT NULL PRIMARY KEY,
    code_tag      bytea   NOT NULL,              -- HMAC(K_index, the code)
    until         bigint  NOT NULL,
    added_at      bigint  NOT NULL,
    added_by      text    NOT NULL
);

-- What a segment costs, as the provider's price list had it.
CREATE TABLE smsotp.prices (
    country       text    COLLATE "C" NOT NULL,  -- ISO 3166, two letters
    channel       text    COLLATE "C" NOT NULL,  -- sms, whatsapp
    price         bigint  NOT NULL,              -- millionths of a US dollar
    fetched_at    bigint  NOT NULL,
    PRIMARY KEY (country, channel)
);

-- The operator's lists: who gets no messages, and whom the caps against abuse do not hold back.
CREATE TABLE smsotp.list_entries (
    number        bigint  GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    "key"         text    NOT NULL,             -- kind and value; of a phone, user or address HMAC(K_index, value)
    list          text    NOT NULL CHECK (list IN ('block', 'allow')),
    kind          text    NOT NULL CHECK (kind IN ('phone', 'prefix', 'country', 'user', 'ip', 'network')),
    shown         text    NOT NULL,
    reason        text    NOT NULL,
    since         bigint  NOT NULL,
    until         bigint ,                      -- NULL: until it is removed
    added_by      text    NOT NULL,
    hits          bigint  NOT NULL,             -- messages that it refused, as far as the audit log has recorded them
    hit_at        bigint ,
    UNIQUE ("key", list)
);
CREATE INDEX list_entries_until ON smsotp.list_entries (until) WHERE until IS NOT NULL;

-- Access tokens of the REST API, by their tag alone.
CREATE TABLE smsotp.tokens (
    id            bigint  PRIMARY KEY,
    name          text    NOT NULL,
    tag           bytea   NOT NULL UNIQUE,       -- HMAC(K_index, the token)
    scopes        text    NOT NULL,              -- words with commas between them
    rate          bigint  NOT NULL,              -- requests per second, of each server
    conversion_unknown boolean NOT NULL,         -- its bearer never says whether a code was entered
    "user"        text,                          -- NULL: not bound to a user
    service       boolean NOT NULL,
    created_at    bigint  NOT NULL,
    expires_at    bigint,
    revoked_at    bigint,
    created_by    text    NOT NULL,
    seal          bytea   NOT NULL               -- HMAC(K_index, all that decides what it opens): without it the row opens nothing
);
CREATE SEQUENCE smsotp.token_ids OWNED BY smsotp.tokens.id;

-- What somebody has to know: alarms of the guard against SMS pumping, and of the balance.
CREATE SEQUENCE smsotp.alarm_ids;
CREATE TABLE smsotp.alarms (
    id            bigint  PRIMARY KEY DEFAULT nextval('smsotp.alarm_ids'),
    kind          text    COLLATE "C" NOT NULL,
    about         text    COLLATE "C" NOT NULL,  -- a country, two letters; empty: everything
    since         bigint  NOT NULL,
    until         bigint  NOT NULL,
    last_at       bigint  NOT NULL,
    count         bigint  NOT NULL,
    cost          bigint  NOT NULL,              -- millionths of a US dollar
    words         text    NOT NULL,
    newest        boolean NOT NULL,              -- of its kind and country: later ones join it while it stands
    acked_at      bigint,
    acked_by      text,
    attempts      bigint  NOT NULL,              -- to deliver it
    due_at        bigint,                        -- when to look at its delivery; NULL: never
    sent_at       bigint
);
ALTER SEQUENCE smsotp.alarm_ids OWNED BY smsotp.alarms.id;
CREATE UNIQUE INDEX alarms_newest ON smsotp.alarms (kind, about) WHERE newest;
CREATE INDEX alarms_until ON smsotp.alarms (until, id);
CREATE INDEX alarms_due ON smsotp.alarms (due_at, id) WHERE due_at IS NOT NULL;

-- One row, once somebody asked: the balance at the provider.
CREATE TABLE smsotp.balance (
    id            bigint  PRIMARY KEY CHECK (id = 1),
    asked_at      bigint  NOT NULL,
    amount        bigint                         -- millionths of a US dollar; NULL: it did not say
);

-- The audit log in a fixed few chains of rows, and how far each has come, apart from its rows. An operation locks the head of its
-- chain last; chain 0 is for maintenance.
CREATE TABLE smsotp.audit_heads (
    chain         bigint  PRIMARY KEY,
    seq           bigint  NOT NULL,              -- of its last row; 0: it never had one
    mac           bytea   NOT NULL,
    pruned_seq    bigint  NOT NULL,              -- of the last row that was pruned; 0: none was
    pruned_mac    bytea   NOT NULL,
    chains        bigint  NOT NULL,              -- how many there are
    seal          bytea   NOT NULL               -- HMAC(K_audit, all of the above)
) WITH (fillfactor = 25, autovacuum_vacuum_scale_factor = 0.05);
CREATE TABLE smsotp.audit (
    chain         bigint  NOT NULL,
    seq           bigint  NOT NULL,
    body          text    NOT NULL,              -- canonical JSON
    mac           bytea   NOT NULL,              -- HMAC(K_audit, the mac before it, chain, seq, SHA-256(body))
    operation     bytea   NOT NULL DEFAULT '',   -- random: how a commit whose answer was lost is looked up
    PRIMARY KEY (chain, seq)
);
-- What happened to one phone: the timeline of `show`.
CREATE INDEX audit_subject ON smsotp.audit ((body::jsonb #>> '{subjects,0}'), chain, seq);
-- What else there is to a row is computed from its body, so that nothing can disagree with it.
CREATE VIEW smsotp.audit_log AS
    SELECT chain, seq, (row ->> 'at')::bigint AS at, row ->> 'actor' AS actor, row ->> 'action' AS action,
           row ->> 'outcome' AS outcome, row -> 'subjects' AS subjects, row -> 'details' AS details
    FROM (SELECT chain, seq, body::jsonb AS row FROM smsotp.audit) AS parsed;
