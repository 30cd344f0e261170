-- Times are in milliseconds since 1970-01-01 UTC. What is compared without case is kept in lower case
-- beside what was entered.
CREATE TABLE users (
    id                    INTEGER PRIMARY KEY AUTOINCREMENT,
    student_id            TEXT    NOT NULL UNIQUE,
    user_name             TEXT    NOT NULL,
    user_name_folded      TEXT    NOT NULL UNIQUE,
    email                 TEXT    NOT NULL,
    email_folded          TEXT    NOT NULL UNIQUE,
    password_hash         TEXT    NOT NULL,
    role                  TEXT    NOT NULL CHECK (role IN ('customer', 'admin')),
    active                INTEGER NOT NULL CHECK (active IN (0, 1)),
    generation            INTEGER NOT NULL,
    generation_raised_at  INTEGER NOT NULL,
    created_at            INTEGER NOT NULL
);

CREATE INDEX users_generation_raised_at ON users (generation_raised_at);

-- The refresh tokens of all sessions, spent ones too: a session is a family of tokens.
CREATE TABLE refresh_tokens (
    digest      BLOB    PRIMARY KEY,
    family      TEXT    NOT NULL,
    user_id     INTEGER NOT NULL REFERENCES users (id),
    generation  INTEGER NOT NULL,
    expires_at  INTEGER NOT NULL,
    spent_at    INTEGER
);

CREATE INDEX refresh_tokens_family ON refresh_tokens (family);
CREATE INDEX refresh_tokens_user_id ON refresh_tokens (user_id);
CREATE INDEX refresh_tokens_expires_at ON refresh_tokens (expires_at);
